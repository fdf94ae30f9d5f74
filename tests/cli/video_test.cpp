// Videos on the command line.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/json.h"
#include "support/command_line.h"
#include "support/fixtures.h"

namespace fovea {
namespace {

using testing::expect_refused;
using testing::fixture_path;
using testing::fovea;
using testing::Outcome;

std::string clip() {
  return fixture_path("parity/qwen2_vl_video/cases/one_video/clip.mp4").string();  // 75 at 25/s
}

std::vector<std::string> ask(const std::string& checkpoint, std::vector<std::string> more) {
  std::vector<std::string> words = {"generate",
                                    "--model",
                                    fixture_path("parity/" + checkpoint).string(),
                                    "--max-tokens",
                                    "2",
                                    "--temperature",
                                    "0",
                                    "--json"};
  words.insert(words.end(), more.begin(), more.end());
  return words;
}

Json report(const Outcome& outcome) {
  EXPECT_EQ(outcome.code, 0) << outcome.err;
  return Json::parse(outcome.out, "output");
}

constexpr const char* kQwen2 = "qwen2_vl_video/checkpoints/hf-f32";
constexpr const char* kQwen3 = "qwen3_vl_video/checkpoints/hf-f32";

TEST(Video, TellsWhatItWasGiven) {
  const Json json = report(fovea(ask(kQwen2, {"--video", clip(), "--fps", "2"})));
  EXPECT_EQ(json["images"].size(), 0u);
  ASSERT_EQ(json["videos"].size(), 1u);
  const Json video = json["videos"].at(0);
  EXPECT_EQ(video["original_size"]["width"].as_int(), 64);
  EXPECT_EQ(video["used_size"]["width"].as_int(), 16);
  EXPECT_EQ(video["frames_total"].as_int(), 75);
  EXPECT_EQ(video["frames"].as_int_list(), std::vector<int>({0, 15, 30, 44, 59, 74}));
  EXPECT_DOUBLE_EQ(video["times"].at(1).as_double(), 0.6);
  EXPECT_EQ(video["tokens"].as_int(), 6);
  EXPECT_FALSE(video["as_pictures"].as_bool());
}

TEST(Video, FlagsChooseFramesAndSizes) {
  const auto video = [](std::vector<std::string> more) {
    more.insert(more.end(), {"--video", clip()});
    return report(fovea(ask(kQwen2, more)))["videos"].at(0);
  };
  EXPECT_EQ(video({"--start", "1", "--end", "2"})["frames"].as_int_list(),
            std::vector<int>({25, 33, 42, 50}));
  EXPECT_EQ(video({"--frames", "2"})["frames"].as_int_list(), std::vector<int>({0, 74}));
  EXPECT_EQ(video({"--fps", "10", "--max-frames", "8"})["frames"].size(), 8u);
  EXPECT_EQ(video({"--fps", "0.1", "--min-frames", "2"})["frames"].size(), 2u);
  EXPECT_EQ(video({"--max-pixels", "64"})["used_size"]["width"].as_int(), 8);
}

TEST(Video, ComesThroughAPipeAndBesidesAPicture) {
  const auto picture = fixture_path("parity/qwen2_vl/cases/one_picture/picture.png").string();
  for (const char* checkpoint : {kQwen2, kQwen3}) {
    const Outcome outcome =
        fovea(ask(checkpoint, {"--video", "-", "--image", picture}), read_file(clip()));
    const Json json = report(outcome);
    EXPECT_EQ(json["videos"].size(), 1u);
    EXPECT_EQ(json["images"].size(), 1u);
  }
}

// Families without videos see single frames; 16 unless more are asked for.
TEST(Video, BecomesPicturesForOtherFamilies) {
  const auto video = [](std::vector<std::string> more) {
    more.insert(more.end(), {"--video", clip(), "--prompt", "What?"});
    return report(fovea(ask("llava/checkpoints/siglip-qwen2-mlx-f32", more)))["videos"].at(0);
  };
  const Json three = video({"--frames", "3"});
  EXPECT_EQ(three["frames"].as_int_list(), std::vector<int>({0, 37, 74}));
  EXPECT_TRUE(three["as_pictures"].as_bool());
  EXPECT_EQ(three["tokens"].as_int() % 3, 0);
  EXPECT_EQ(video({"--fps", "10"})["frames"].size(), 16u);
  EXPECT_EQ(video({"--fps", "10", "--max-frames", "18"})["frames"].size(), 18u);
}

TEST(Video, IsRefusedInOneSentence) {
  expect_refused(ask(kQwen2, {"--video", clip(), "--fps", "2", "--frames", "3"}),
                 "[generate] expected --fps or --frames but got both");
  expect_refused(ask(kQwen2, {"--fps", "2", "--prompt", "x"}),
                 "[generate] expected --video with flags that choose its frames but got none");
  expect_refused(ask(kQwen2, {"--video", clip(), "--frames", "76"}),
                 "[video] expected a number of frames up to the 75 there are but got 76");
  expect_refused(ask(kQwen2, {"--video", clip(), "--start", "9"}),
                 "[video] expected an end behind the start of 9 s");
  expect_refused(ask(kQwen2, {"--video", "no.mp4"}), "there is no 'no.mp4'");
  expect_refused(ask(kQwen2, {"--video", "rtsp://127.0.0.1/a.mp4"}),
                 "but got the address 'rtsp://127.0.0.1/a.mp4'");
  expect_refused(
      ask("qwen2_vl/checkpoints/hf-f32", {"--video", clip()}),
      "[prompt] expected a placeholder for each of 1 videos but the rendered prompt has 0");
  expect_refused(ask(kQwen2, {"--video", clip(), "--prompt", "see <|video_pad|>"}),
                 "[prompt] expected text without the video token");
  expect_refused(ask(kQwen2, {"--video", clip(), "--video", "-", "--image", "-"}),
                 "expected standard input (-) once");
}

}  // namespace
}  // namespace fovea

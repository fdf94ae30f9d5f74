// Videos among the parts of a conversation.
#include <gtest/gtest.h>

#include "media/source.h"
#include "processors/processor.h"
#include "processors/qwen_patches.h"
#include "support/expect_error.h"
#include "support/fixtures.h"

namespace fovea::processors {
namespace {

Processor processor_of(const std::string& family) {
  const auto folder = testing::fixture_path("parity/" + family + "/checkpoints/hf-f32");
  return Processor(open_checkpoint(folder.string()));
}

ChatRequest request_with_media() {
  ChatRequest request;
  const auto clip = testing::fixture_path("parity/qwen2_vl_video/cases/two_videos/");
  VideoSampling sampling;
  sampling.frames = 2;
  request.videos.push_back(
      media::load_video((clip / "first.mp4").string(), sampling, media::SourcePolicy::own_files()));
  request.videos.push_back(media::load_video((clip / "second.avi").string(), sampling,
                                             media::SourcePolicy::own_files()));
  const auto picture = testing::fixture_path("parity/qwen2_vl/cases/one_picture/picture.png");
  request.images.push_back(media::load_media(picture.string(), media::SourcePolicy::own_files()));
  return request;
}

Part text(const std::string& words) { return {Part::Kind::kText, words, -1}; }

TEST(Videos, StayWhereTheUserPutThem) {
  const Processor processor = processor_of("qwen2_vl_video");
  ChatRequest request = request_with_media();
  request.messages = {{"user",
                       {{Part::Kind::kVideo, "", 1},
                        text("then"),
                        {Part::Kind::kImage, "", 0},
                        text("and"),
                        {Part::Kind::kVideo, "", 0}},
                       {}}};
  const Prompt prompt = processor.process(request);
  ASSERT_EQ(prompt.media.size(), 3u);
  EXPECT_EQ(prompt.media[0].original, (Size{96, 32}));
  EXPECT_EQ(prompt.media[1].kind, MediaKind::kImage);
  EXPECT_EQ(prompt.media[2].original, (Size{40, 60}));
  for (const auto& span : prompt.media) {
    const auto begin = prompt.tokens.begin() + span.begin;
    EXPECT_EQ(std::count(begin, begin + span.count, *begin), span.count);
    EXPECT_NE(*(begin - 1), *begin);
    EXPECT_NE(*(begin + span.count), *begin);
  }
}

// As mlx-vlm puts them: videos before the text, also where pictures come behind it.
TEST(Videos, StandBeforeTheTextWhereNoPartNamesThem) {
  const Processor processor = processor_of("qwen2_vl_video");
  ChatRequest request = request_with_media();
  request.messages = {{"user", {text("words")}, {}}};
  const std::string prompt = processor.process(request).text;
  EXPECT_NE(prompt.find("<|video_pad|><|vision_end|>words<|vision_start|><|image_pad|>"),
            std::string::npos)
      << prompt;
}

TEST(Videos, AreEachOfTheirOwnFramesInQwen3) {
  const Processor processor = processor_of("qwen3_vl_video");
  ChatRequest request = request_with_media();
  request.messages = {{"user", {text("words")}, {}}};
  const Prompt prompt = processor.process(request);
  ASSERT_EQ(prompt.media.size(), 3u);
  EXPECT_EQ(prompt.media[1].frames, std::vector<int>({0, 39}));  // behind the picture
  EXPECT_EQ(prompt.media[2].frames, std::vector<int>({0, 29}));
}

TEST(Videos, BecomePicturesInTheirPlaces) {
  const Processor processor = processor_of("idefics3");
  ChatRequest request = request_with_media();
  request.messages = {{"user",
                       {text("first"),
                        {Part::Kind::kVideo, "", 0},
                        text("then"),
                        {Part::Kind::kImage, "", 0},
                        {Part::Kind::kVideo, "", 1}},
                       {}}};
  const Prompt prompt = processor.process(request);
  ASSERT_EQ(prompt.media.size(), 5u);
  std::vector<int> videos;
  for (const auto& span : prompt.media) videos.push_back(span.video);
  EXPECT_EQ(videos, std::vector<int>({0, 0, -1, 1, 1}));
}

TEST(Videos, AreNamedOnce) {
  for (const char* family : {"qwen2_vl_video", "idefics3"}) {
    const Processor processor = processor_of(family);
    ChatRequest request = request_with_media();
    request.messages = {{"user", {{Part::Kind::kVideo, "", 0}, {Part::Kind::kVideo, "", 0}}, {}}};
    EXPECT_ERROR(processor.process(request), ErrorKind::kInvalidArgument,
                 "expected every video once among 2 but got number 0");
    request.messages = {{"system", {text("words")}, {}}};
    EXPECT_ERROR(processor.process(request), ErrorKind::kInvalidArgument,
                 "[messages] expected a user message");
  }
}

// By hand, from the reference's formula: all frames together have between min and max pixels.
TEST(QwenPatches, KeepAllFramesWithinTheBudget) {
  const QwenPatches patches(Json::parse("{}", "config"), 14, {1, 1 << 30});
  EXPECT_EQ(patches.target_size({64, 48}, {50176, 1 << 30}, 4, 4, "clip"), (Size{140, 112}));
  EXPECT_EQ(patches.target_size({640, 480}, {1, 100352}, 4, 4, "clip"), (Size{168, 112}));
  EXPECT_EQ(patches.target_size({640, 480}, {1, 100352}, 3, 4, "clip"), (Size{196, 140}));
}

}  // namespace
}  // namespace fovea::processors

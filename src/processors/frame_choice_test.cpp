#include "processors/frame_choice.h"

#include <gtest/gtest.h>

#include <numeric>

#include "support/expect_error.h"
#include "support/fixtures.h"

namespace fovea::processors {
namespace {

VideoSampling sampling_of(const Json& json) {
  VideoSampling sampling;
  if (json.contains("fps")) sampling.fps = json["fps"].as_double();
  if (json.contains("nframes")) sampling.frames = json["nframes"].as_int32();
  if (json.contains("min_frames")) sampling.min_frames = json["min_frames"].as_int32();
  if (json.contains("max_frames")) sampling.max_frames = json["max_frames"].as_int32();
  return sampling;
}

media::VideoInfo clip(int total, double fps) {
  media::VideoInfo info;
  info.fps = fps;
  for (int i = 0; i < total; ++i) info.times.push_back(i / fps);
  return info;
}

// mlx-vlm's choice by the number of frames and their rate; what it refuses for want of frames, we
// give all there are.
TEST(FrameChoice, IsThatOfTheReference) {
  const Json cases = testing::read_fixture("processors/video/frame_choice.json")["cases"];
  ASSERT_GE(cases.size(), 200u);
  for (size_t i = 0; i < cases.size(); ++i) {
    const Json c = cases.at(i);
    const auto sampling = sampling_of(c["sampling"]);
    const auto info = clip(c["total"].as_int32(), c["fps"].as_double());
    SCOPED_TRACE(c.dump());
    const auto choose = [&] {
      return choose_frames(info, sampling, standard_sampling(), 2, "clip");
    };
    if (c["frames"].is_null()) {
      if (sampling.frames) EXPECT_ERROR(choose(), ErrorKind::kInvalidArgument, "frames");
      continue;
    }
    const auto choice = choose();
    const auto expected = c["frames"].as_int_list();
    const auto count = static_cast<size_t>(c.get_int("count", static_cast<int>(expected.size())));
    ASSERT_EQ(choice.frames.size(), count);
    EXPECT_TRUE(std::equal(expected.begin(), expected.end(), choice.frames.begin()));
    if (c.contains("sum")) {
      EXPECT_EQ(std::accumulate(choice.frames.begin(), choice.frames.end(), int64_t{0}),
                c["sum"].as_int());
    }
    EXPECT_NEAR(choice.fps, c["sampled_fps"].as_double(), 1e-9);
  }
}

TEST(FrameChoice, GivesAllFramesWhereThereAreFewerThanAGroup) {
  EXPECT_EQ(choose_frames(clip(1, 10), {}, standard_sampling(), 2, "clip").frames,
            std::vector<int>({0}));
  EXPECT_EQ(choose_frames(clip(3, 10), {}, standard_sampling(), 4, "clip").frames,
            std::vector<int>({0, 1, 2}));
}

// As qwen-vl-utils counts them: from the first frame at or behind the start to the last one at or
// before the end.
TEST(FrameChoice, KeepsToThePartThatWasAskedFor) {
  VideoSampling sampling;
  sampling.start = 2.01;
  sampling.end = 6;
  sampling.fps = 1;
  const auto choice = choose_frames(clip(250, 25), sampling, standard_sampling(), 2, "clip");
  EXPECT_EQ(choice.frames, std::vector<int>({51, 84, 117, 150}));
  EXPECT_DOUBLE_EQ(choice.times.front(), 2.04);
  EXPECT_DOUBLE_EQ(choice.fps, 1);
  sampling.start = 11;
  sampling.end.reset();
  EXPECT_ERROR(choose_frames(clip(250, 25), sampling, standard_sampling(), 2, "a.mp4"),
               ErrorKind::kInvalidArgument,
               "[video] expected an end behind the start of 11 s for 'a.mp4' but got 9.96");
  sampling.start = 2.01;
  sampling.end = 2.02;
  EXPECT_ERROR(choose_frames(clip(250, 25), sampling, standard_sampling(), 2, "a.mp4"),
               ErrorKind::kInvalidArgument,
               "expected a frame of 'a.mp4' from 2.01 s to 2.02 s but its 250 frames end at 9.960");
}

// A picture that stands for two seconds and then moves: even times, not even numbers.
TEST(FrameChoice, GoesByTimeWhereTheRateVaries) {
  media::VideoInfo info;
  info.times = {0, 2, 2.1, 2.2, 2.3, 2.4, 3};
  info.constant_rate = false;
  info.fps = 2;
  VideoSampling sampling;
  sampling.frames = 4;
  const auto choice = choose_frames(info, sampling, standard_sampling(), 2, "clip");
  EXPECT_EQ(choice.frames, std::vector<int>({0, 1, 1, 6}));
  EXPECT_EQ(choice.times, std::vector<double>({0, 2, 2, 3}));
}

}  // namespace
}  // namespace fovea::processors

#include <gtest/gtest.h>

#include "processors/frame_story.h"
#include "support/fixtures.h"

namespace fovea::processors {
namespace {

// As the package num2words spells them.
TEST(NumberInWords, ReadsAsPeopleSayIt) {
  EXPECT_EQ(number_in_words(0), "zero");
  EXPECT_EQ(number_in_words(17), "seventeen");
  EXPECT_EQ(number_in_words(20), "twenty");
  EXPECT_EQ(number_in_words(64), "sixty-four");
  EXPECT_EQ(number_in_words(100), "one hundred");
  EXPECT_EQ(number_in_words(105), "one hundred and five");
  EXPECT_EQ(number_in_words(768), "seven hundred and sixty-eight");
  EXPECT_EQ(number_in_words(1001), "one thousand and one");
  EXPECT_EQ(number_in_words(2048), "two thousand and forty-eight");
  EXPECT_EQ(number_in_words(2100), "two thousand, one hundred");
}

// The fixture's settings: one a second, five at most.
class SmolVlm : public ::testing::Test {
 protected:
  SmolVlm()
      : story_(make_smolvlm_frame_story(open_checkpoint(
            testing::fixture_path("parity/smolvlm_video/checkpoints/hf-f32").string()))) {
    info_.fps = 10;
    for (int i = 0; i < 100; ++i) info_.times.push_back(i / 10.0);
    info_.duration = 10;
  }
  std::vector<int> chosen(const VideoSampling& wanted) const {
    return story_->choose(info_, wanted, "clip").frames;
  }

  std::unique_ptr<FrameStory> story_;
  media::VideoInfo info_;
};

TEST_F(SmolVlm, LeavesOutTheEndsOfALongVideo) {
  EXPECT_EQ(chosen({}), std::vector<int>({10, 30, 50, 70, 90}));
  VideoSampling eight;
  eight.max_frames = 8;  // which is no shorter than what lies between the ends
  EXPECT_EQ(chosen(eight), std::vector<int>({0, 14, 28, 42, 56, 70, 84, 99}));
}

TEST_F(SmolVlm, KeepsToWhatWasAskedFor) {
  VideoSampling wanted;
  wanted.start = 2;
  wanted.end = 5;
  EXPECT_EQ(chosen(wanted), std::vector<int>({20, 35, 50}));  // 3.1 seconds
  wanted = {};
  wanted.frames = 3;
  EXPECT_EQ(chosen(wanted).size(), 3u);
  wanted.frames = 1;
  EXPECT_EQ(chosen(wanted).size(), 1u);
}

TEST_F(SmolVlm, TellsLengthAndTimes) {
  FrameChoice choice;
  choice.frames.assign(21, 0);
  info_.duration = 3725.9;
  EXPECT_EQ(story_->begin(choice, info_),
            "You are provided the following series of twenty-one frames from a 1:02:05 [H:MM:SS] "
            "video.\n");
  EXPECT_EQ(story_->label(3661.5), "\nFrame from 61:01:");
}

}  // namespace
}  // namespace fovea::processors

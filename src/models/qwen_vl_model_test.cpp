#include "models/qwen_vl_model.h"

#include <gtest/gtest.h>

#include "mlx/ops.h"
#include "mlx/transforms.h"

namespace fovea::models {
namespace {

std::vector<int> axis(const Positions& positions, int which) {
  auto row = mx::contiguous(mx::take(positions.position_ids_AL, which, 0));
  mx::eval(row);
  return {row.data<int>(), row.data<int>() + row.size()};
}

Prompt one_video(int groups, double seconds_per_grid) {
  Prompt prompt;
  MediaSpan span;
  span.kind = MediaKind::kVideo;
  span.begin = 1;
  span.count = groups * 2;
  span.grid_thw = {groups, 2, 4};
  span.seconds_per_grid = seconds_per_grid;
  prompt.media.push_back(span);
  prompt.tokens.assign(static_cast<size_t>(span.count) + 3, 7);
  return prompt;
}

// What follows a long video begins behind its last frame.
TEST(MropePositions, CountFramesByOne) {
  const auto positions = mrope_positions(one_video(4, 1.5), 2);
  EXPECT_EQ(axis(positions, 0), std::vector<int>({0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 6}));
  EXPECT_EQ(axis(positions, 1), std::vector<int>({0, 1, 1, 1, 1, 1, 1, 1, 1, 5, 6}));
  EXPECT_EQ(axis(positions, 2), std::vector<int>({0, 1, 2, 1, 2, 1, 2, 1, 2, 5, 6}));
  EXPECT_EQ(positions.delta, 7 - 11);
}

TEST(MropePositions, CountSecondsWhereTheModelDoes) {
  const auto positions = mrope_positions(one_video(4, 1.25), 2, 2);  // 0, 2.5, 5, 7.5
  EXPECT_EQ(axis(positions, 0), std::vector<int>({0, 1, 1, 3, 3, 6, 6, 8, 8, 9, 10}));
  EXPECT_EQ(axis(positions, 2), std::vector<int>({0, 1, 2, 1, 2, 1, 2, 1, 2, 9, 10}));
}

// Qwen3-VL's frames, each behind the text that tells its time.
TEST(MropePositions, BeginAnewForFramesApart) {
  Prompt prompt = one_video(2, 1);
  prompt.media[0].runs = {{1, 2}, {5, 2}};
  prompt.tokens.assign(8, 7);
  const auto positions = mrope_positions(prompt, 2);
  EXPECT_EQ(axis(positions, 0), std::vector<int>({0, 1, 1, 3, 4, 5, 5, 7}));
  EXPECT_EQ(axis(positions, 2), std::vector<int>({0, 1, 2, 3, 4, 5, 6, 7}));
}

}  // namespace
}  // namespace fovea::models

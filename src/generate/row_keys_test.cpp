#include "generate/cache/row_keys.h"

#include <gtest/gtest.h>

#include <functional>

#include "generate/cache/feature_cache.h"
#include "mlx/ops.h"
#include "mlx/transforms.h"

namespace fovea::generate {
namespace {

namespace mx = mlx::core;

MediaSpan picture() {
  MediaSpan span;
  span.begin = 2;
  span.count = 3;
  span.pixels = {{1, 4}, {0.1f, 0.2f, 0.3f, 0.4f}};
  span.grid_thw = {1, 2, 2};
  return span;
}

TEST(RowKeys, NameMediaByTheirContents) {
  Prompt prompt;
  prompt.tokens = {1, 2, 9, 9, 9, 3};
  prompt.media = {picture()};
  const auto hash = content_hash(prompt.media[0]);
  const auto keys = row_keys(prompt, {hash});
  ASSERT_EQ(keys.size(), 6u);
  EXPECT_EQ(keys[0], key_of(1));
  EXPECT_EQ(keys[5], key_of(3));
  EXPECT_NE(keys[2], key_of(9));
  EXPECT_NE(keys[2], keys[3]);
  // Where it stands does not matter, and not what stands around its runs.
  Prompt moved = prompt;
  moved.tokens = {9, 9, 7, 9};
  moved.media[0].begin = 0;
  moved.media[0].runs = {{0, 2}, {3, 1}};
  const auto others = row_keys(moved, {hash});
  EXPECT_EQ(others[0], keys[2]);
  EXPECT_EQ(others[1], keys[3]);
  EXPECT_EQ(others[2], key_of(7));
  EXPECT_EQ(others[3], keys[4]);
}

// A row that sees later ones is not the same where those are others.
TEST(RowKeys, RowsOfASpanAreKnownByAllOfIt) {
  Prompt one;
  one.tokens = {1, 2, 3, 4, 5};
  Prompt other = one;
  other.tokens[3] = 9;
  const std::vector<TokenRun> span = {{1, 3}};
  const auto a = row_keys(one, {}, span);
  const auto b = row_keys(other, {}, span);
  EXPECT_EQ(a[0], b[0]);
  EXPECT_NE(a[1], b[1]);
  EXPECT_NE(a[2], b[2]);
  EXPECT_EQ(a[4], b[4]);
  EXPECT_EQ(a, row_keys(one, {}, span));
  EXPECT_EQ(row_keys(one, {})[1], row_keys(other, {})[1]);
}

TEST(RowKeys, ContentsAreAllThatATowerSees) {
  const auto hash = content_hash(picture());
  EXPECT_EQ(content_hash(picture()), hash);
  auto moved = picture();
  moved.begin = 7;
  moved.original = {640, 480};
  EXPECT_EQ(content_hash(moved), hash);
  const std::vector<std::function<void(MediaSpan&)>> changes = {
      [](MediaSpan& s) { s.pixels.data[3] = 0.41f; },
      [](MediaSpan& s) { s.pixels.shape = {2, 2}; },
      [](MediaSpan& s) { s.grid_thw = {1, 1, 4}; },
      [](MediaSpan& s) { s.tiles = {1, 1}; },
      [](MediaSpan& s) { s.kind = MediaKind::kVideo; },
      [](MediaSpan& s) { s.seconds_per_grid = 0.5; },
  };
  for (size_t i = 0; i < changes.size(); ++i) {
    auto changed = picture();
    changes[i](changed);
    EXPECT_NE(content_hash(changed), hash) << i;
  }
}

TEST(FeatureCache, KeepsTheNewestWithinItsBound) {
  const auto named = [](int i) {
    Sha256Bytes name{};
    name[0] = static_cast<std::byte>(i);
    return name;
  };
  const auto features = [](int rows) {
    auto x = mx::zeros({rows, 4}, mx::float32);
    mx::eval(x);
    return x;
  };
  FeatureCache cache(3 * 160);
  for (int i = 0; i < 3; ++i) cache.insert(named(i), features(10));
  EXPECT_TRUE(cache.find(named(0)));  // now newer than 1
  cache.insert(named(3), features(10));
  EXPECT_FALSE(cache.find(named(1)));
  EXPECT_EQ(cache.find(named(3))->shape(0), 10);
  EXPECT_EQ(cache.bytes(), 3 * 160);
  cache.insert(named(4), features(31));  // alone too large
  EXPECT_EQ(cache.count(), 3u);
  cache.insert(named(5), features(30));
  EXPECT_EQ(cache.count(), 1u);
}

}  // namespace
}  // namespace fovea::generate

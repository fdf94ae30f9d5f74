#include "generate/cache/prefix_cache.h"

#include <gtest/gtest.h>

namespace fovea::generate {
namespace {

constexpr int kBlock = kernels::kBlockRows;

std::vector<RowKey> keys(int rows, int32_t first = 0) {
  std::vector<RowKey> all;
  for (int i = 0; i < rows; ++i) all.push_back(key_of(first + i));
  return all;
}

std::vector<RowKey> joined(std::vector<RowKey> a, const std::vector<RowKey>& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

// Blocks that are told apart by their first byte.
PrefixBlocks blocks(int rows, char name, size_t kinds = 1) {
  PrefixBlocks prefix{rows};
  prefix.kinds.resize(kinds);
  for (auto& kind : prefix.kinds) {
    for (int at = 0; at < rows; at += kBlock) {
      BlockRef block(new std::byte[1], [](std::byte* p) { delete[] p; });
      *block = static_cast<std::byte>(name);
      kind.push_back(std::move(block));
    }
  }
  return prefix;
}

std::string names(const PrefixBlocks& prefix, size_t kind = 0) {
  std::string all;
  if (prefix.kinds.empty()) return all;
  for (const auto& block : prefix.kinds[kind]) all += block ? static_cast<char>(*block) : '-';
  return all;
}

TEST(PrefixCache, FindsTheLongestBeginning) {
  PrefixCache cache({Forgetting{}});
  EXPECT_EQ(cache.find("", false, keys(300), 299).rows, 0);
  cache.insert("", keys(300), blocks(300, 'a'), true);
  EXPECT_EQ(cache.rows(), 300);
  const auto all = cache.find("", false, keys(400), 399);
  EXPECT_EQ(all.rows, 300);
  EXPECT_EQ(names(all), "aaa");
  // Never more than is wanted, to the row.
  for (const int most : {0, 1, 127, 128, 129, 256, 257, 299}) {
    const auto found = cache.find("", false, keys(300), most);
    EXPECT_EQ(found.rows, most);
    EXPECT_EQ(names(found).size(), static_cast<size_t>((most + kBlock - 1) / kBlock));
  }
  // As far as rows are the same.
  for (const int same : {1, 50, 128, 200, 280}) {
    const auto other = joined(keys(same), keys(100, 5000));
    EXPECT_EQ(cache.find("", false, other, 1000).rows, same);
  }
  EXPECT_EQ(cache.find("", false, keys(10, 77), 10).rows, 0);
}

TEST(PrefixCache, KeepsBranchesApart) {
  PrefixCache cache({Forgetting{}});
  const auto left = joined(keys(150), keys(150, 1000));
  const auto right = joined(keys(150), keys(150, 2000));
  cache.insert("", left, blocks(300, 'l'), true);
  cache.insert("", right, blocks(300, 'r'), true);
  EXPECT_EQ(names(cache.find("", false, left, 300)), "lll");
  EXPECT_EQ(names(cache.find("", false, right, 300)), "lrr");  // the first block is one
  EXPECT_EQ(cache.block_count(), 5u);
}

TEST(PrefixCache, WhatGrowsTakesThePlaceOfItsBeginning) {
  PrefixCache cache({Forgetting{}});
  cache.insert("", keys(140), blocks(140, 'a'), true);
  cache.insert("", keys(200), blocks(200, 'b'), true);
  EXPECT_EQ(cache.block_count(), 2u);
  EXPECT_EQ(cache.rows(), 200);
  EXPECT_EQ(names(cache.find("", false, keys(200), 200)), "ab");
}

TEST(PrefixCache, KeepsAnIncompleteBlockOnlyWhenNobodyWritesToIt) {
  PrefixCache cache({Forgetting{}});
  cache.insert("", keys(140), blocks(140, 'a'), false);
  EXPECT_EQ(cache.find("", false, keys(200), 200).rows, 128);
}

TEST(PrefixCache, ScopesAndBitsShareNothing) {
  PrefixCache cache({Forgetting{}});
  cache.insert("one", keys(50), blocks(50, 'a'), true);
  EXPECT_EQ(cache.find("two", false, keys(50), 50).rows, 0);
  EXPECT_EQ(cache.find("one", true, keys(50), 50).rows, 0);
  auto bytes = blocks(50, 'b');
  bytes.bytes = true;
  cache.insert("one", keys(50), bytes, true);
  EXPECT_TRUE(cache.find("one", true, keys(50), 50).bytes);
  EXPECT_EQ(names(cache.find("one", false, keys(50), 50)), "a");
}

// A layer with a window needs what the next row sees of it, and is found without the rest.
TEST(PrefixCache, TakesAWindowsBlocksOnlyWhereTheyAreAllThere) {
  PrefixCache cache({Forgetting{}, Forgetting{100}});
  auto left = blocks(600, 'a', 2);
  for (size_t i = 0; i < 3; ++i) left.kinds[1][i] = nullptr;  // gone before it was kept
  cache.insert("", keys(600), left, true);
  const auto all = cache.find("", false, keys(600), 600);
  EXPECT_EQ(all.rows, 600);
  EXPECT_EQ(names(all, 0), "aaaaa");
  EXPECT_EQ(names(all, 1), "---aa");
  // Row 500 sees rows from 401 on, row 450 rows from 351 on, which are gone.
  EXPECT_EQ(cache.find("", false, keys(600), 500).rows, 500);
  EXPECT_EQ(cache.find("", false, keys(600), 450).rows, 0);
  // Another sequence brings what is missing.
  cache.insert("", keys(384), blocks(384, 'b', 2), false);
  const auto mended = cache.find("", false, keys(600), 450);
  EXPECT_EQ(mended.rows, 450);
  EXPECT_EQ(names(mended, 1), "--ba");
}

// A sequence that goes on holds its blocks, but not those that its windows have left.
TEST(PrefixCache, GivesWhatWindowsHaveLeftThoughTheRestIsHeld) {
  PrefixCache cache({Forgetting{}, Forgetting{100}});
  auto sequence = blocks(384, 'a', 2);
  cache.insert("", keys(384), sequence, false);
  EXPECT_FALSE(cache.make_room());
  sequence.kinds[1][0] = nullptr;
  EXPECT_TRUE(cache.make_room());
  EXPECT_FALSE(cache.make_room());
  EXPECT_EQ(names(cache.find("", false, keys(384), 384), 1), "--a");
}

TEST(PrefixCache, TheOldestGoFirstAndWhatIsHeldStays) {
  PrefixCache cache({Forgetting{}});
  cache.insert("", keys(256), blocks(256, 'a'), true);
  cache.insert("", keys(128, 1000), blocks(128, 'b'), true);
  cache.insert("", keys(128, 2000), blocks(128, 'c'), true);
  cache.find("", false, keys(256), 256);  // newer than b and c
  EXPECT_TRUE(cache.make_room());
  EXPECT_EQ(cache.find("", false, keys(128, 1000), 128).rows, 0);
  {
    const auto held = cache.find("", false, keys(128, 2000), 128);
    cache.find("", false, keys(256), 256);
    EXPECT_TRUE(cache.make_room());  // the second of a, since c is held
    EXPECT_EQ(cache.find("", false, keys(256), 256).rows, 128);
  }
  EXPECT_TRUE(cache.make_room());
  EXPECT_TRUE(cache.make_room());
  EXPECT_FALSE(cache.make_room());
  EXPECT_EQ(cache.rows(), 0);
}

}  // namespace
}  // namespace fovea::generate

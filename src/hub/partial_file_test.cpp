#include "hub/partial_file.h"

#include <gtest/gtest.h>

#include "base/file.h"
#include "support/temporary_folder.h"

namespace fovea::hub {
namespace {

std::span<const std::byte> bytes(const std::string& text) { return std::as_bytes(std::span(text)); }

class Partial : public ::testing::Test {
 protected:
  std::filesystem::path blob() const { return folder_.path() / "blob"; }
  testing::TemporaryFolder folder_;
};

TEST_F(Partial, ChunksMayComeInAnyOrderAndOutliveTheirObject) {
  {
    PartialFile file(blob(), 10, 4);
    const auto all = file.take(16);
    ASSERT_TRUE(all);
    EXPECT_EQ(all->begin, 0);
    EXPECT_EQ(all->end, 10);
    EXPECT_FALSE(file.take(16));
    file.write(4, 4, bytes("efgh"));
    file.write(8, 8, bytes("i"));  // not whole yet
    EXPECT_EQ(file.bytes_present(), 4);
  }
  PartialFile file(blob(), 10, 4);
  EXPECT_EQ(file.bytes_present(), 4);
  const auto first = file.take(16);
  ASSERT_TRUE(first);
  EXPECT_EQ(first->end, 4);
  file.write(0, 0, bytes("ab"));
  file.write(0, 2, bytes("cd"));
  const auto last = file.take(16);
  ASSERT_TRUE(last);
  EXPECT_EQ(last->begin, 8);
  file.write(8, 8, bytes("ij"));
  file.publish();
  EXPECT_EQ(read_file(blob()), "abcdefghij");
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder_.path()), {}), 1);
}

TEST_F(Partial, HolesTakeNoDisk) {
  constexpr int64_t kChunk = 1 << 20;
  EXPECT_EQ(PartialFile::bytes_on_disk(blob()), 0);
  PartialFile file(blob(), 8 * kChunk, kChunk);
  file.write(7 * kChunk, 7 * kChunk, bytes(std::string(kChunk, 'x')));
  EXPECT_GE(PartialFile::bytes_on_disk(blob()), kChunk);
  EXPECT_LT(PartialFile::bytes_on_disk(blob()), 2 * kChunk);
}

TEST_F(Partial, NobodyTakesMoreThanTheirShare) {
  PartialFile file(blob(), 10, 4);
  EXPECT_EQ(file.take(2)->end, 8);
  EXPECT_EQ(file.take(2)->begin, 8);
}

TEST_F(Partial, AStreamFromTheStartMarksWhatItPasses) {
  PartialFile file(blob(), 10, 4);
  file.write(0, 0, bytes("abcdef"));
  EXPECT_EQ(file.bytes_present(), 4);
  file.write(0, 6, bytes("ghij"));
  EXPECT_EQ(file.bytes_present(), 10);
}

TEST_F(Partial, BeginsAnewForAnotherSizeAndForABrokenList) {
  {
    PartialFile file(blob(), 10, 4);
    file.write(0, 0, bytes("abcd"));
  }
  { EXPECT_EQ(PartialFile(blob(), 12, 4).bytes_present(), 0); }
  {
    PartialFile file(blob(), 12, 4);
    file.write(0, 0, bytes("abcd"));
  }
  folder_.write("blob.fovea-list", "nonsense");
  EXPECT_EQ(PartialFile(blob(), 12, 4).bytes_present(), 0);
}

// A list may say more than the data holds when the machine went down between the two.
TEST_F(Partial, ChunksBeyondTheDataAreMissing) {
  {
    PartialFile file(blob(), 8, 4);
    file.write(0, 0, bytes("abcdefgh"));
  }
  std::filesystem::resize_file(folder_.path() / "blob.fovea-part", 5);
  EXPECT_EQ(PartialFile(blob(), 8, 4).bytes_present(), 4);
}

TEST_F(Partial, WhatIsGivenBackIsTakenAgainButForWhatCame) {
  PartialFile partial(blob(), 40, 10);
  const auto range = partial.take(4);
  EXPECT_FALSE(partial.take(4).has_value());
  const std::vector<std::byte> bytes(15);
  partial.write(0, 0, bytes);
  partial.give_back(*range);
  const auto again = partial.take(4);
  ASSERT_TRUE(again.has_value());
  EXPECT_EQ(again->begin, 10);
  EXPECT_EQ(again->end, 40);
}

}  // namespace
}  // namespace fovea::hub

#include "hub/digest.h"

#include <gtest/gtest.h>

#include "support/temporary_folder.h"

namespace fovea::hub {
namespace {

// Values of sha256sum and git hash-object.
TEST(Digest, IsWhatOtherProgramsSay) {
  const testing::TemporaryFolder folder;
  const auto file = folder.write("hello", "hello\n");
  EXPECT_EQ(digest_of(file, std::string(64, '0')),
            "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03");
  EXPECT_EQ(digest_of(file, std::string(40, '0')), "ce013625030ba8dba906f756967f9e9ca394464a");
  const auto empty = folder.write("empty", "");
  EXPECT_EQ(digest_of(empty, std::string(40, '0')), "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391");
}

TEST(Digest, NamesOfOtherKindsAreNone) {
  EXPECT_TRUE(is_digest(std::string(40, 'a')));
  EXPECT_TRUE(is_digest(std::string(64, '9')));
  for (const auto& name :
       {std::string(64, 'A'), std::string(63, 'a'), std::string(40, 'g'),
        std::string("../../../../../../../../../../../../etc/"), std::string()}) {
    EXPECT_FALSE(is_digest(name)) << name;
  }
}

}  // namespace
}  // namespace fovea::hub

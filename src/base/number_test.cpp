#include "base/number.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <limits>

#include "support/expect_error.h"

namespace fovea {
namespace {

TEST(Number, TakesWholeTextsOfTheRange) {
  EXPECT_EQ(parse_number("n", "1", 1, 3), 1);
  EXPECT_EQ(parse_number("n", "+3", 1, 3), 3);
  EXPECT_EQ(parse_number("n", "-2.5e0", -3.0, 3.0), -2.5);
  EXPECT_EQ(
      parse_number<uint64_t>("n", "18446744073709551615", 0, std::numeric_limits<uint64_t>::max()),
      std::numeric_limits<uint64_t>::max());
}

TEST(Number, RefusesTheRest) {
  for (const char* text : {"", "+", "+-1", "--1", "0", "4", "1x", " 1", "1.5", "abc", "nan"}) {
    EXPECT_ERROR(parse_number("--n", text, 1, 3), ErrorKind::kInvalidArgument,
                 fmt::format("[--n] expected a whole number from 1 to 3 but got '{}'", text));
  }
  for (const char* text : {"nan", "inf", "1e999", "2.5"}) {
    EXPECT_ERROR(parse_number("n", text, 0.0, 2.0), ErrorKind::kInvalidArgument, "a number from 0");
  }
  for (const char* text : {"-1", "18446744073709551616"}) {
    EXPECT_ERROR(parse_number<uint64_t>("n", text, 0, std::numeric_limits<uint64_t>::max()),
                 ErrorKind::kInvalidArgument, text);
  }
}

}  // namespace
}  // namespace fovea

#include "base/printable.h"

#include <gtest/gtest.h>

namespace fovea {
namespace {

TEST(Printable, EscapesWhatATerminalObeysAndNothingElse) {
  EXPECT_EQ(printable("weight 'zz\n\x1b[31mred\x7f'"), "weight 'zz\\x0a\\x1b[31mred\\x7f'");
  EXPECT_EQ(printable("\xc2\x9b"
                      "31m"),
            "\\x9b31m");
  EXPECT_EQ(printable("Où est l'été? 猫 \xc2\xa0"), "Où est l'été? 猫 \xc2\xa0");
  EXPECT_EQ(printable("\xc2"), "\xc2");
}

}  // namespace
}  // namespace fovea

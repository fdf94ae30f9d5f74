// fovea convert as its users run it: what it says, killed at any time, with a full disk.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/json.h"
#include "support/command_line.h"
#include "support/fixtures.h"
#include "support/temporary_folder.h"

namespace fovea {
namespace {

using testing::expect_refused;
using testing::fovea;
using ::testing::HasSubstr;
using testing::Outcome;
using testing::shell;
using ::testing::StartsWith;
namespace fs = std::filesystem;

class ConvertCommand : public ::testing::Test {
 protected:
  static std::string tiny() { return testing::source_path("models/fovea-tiny").string(); }
  static std::string qwen() {
    return testing::fixture_path("parity/qwen2_vl/checkpoints/hf-f32").string();
  }
  fs::path out() const { return folder_.path() / "out"; }

  std::string answer(const std::string& model) const {
    const Outcome said = fovea({"generate", "--model", model, "--image",
                                testing::source_path("examples/pictures/cat_dog.png").string(),
                                "--prompt", "What is in this picture?", "--json"});
    EXPECT_EQ(said.code, 0) << said.err;
    return Json::parse(said.out, "output")["text"].as_string();
  }

  testing::TemporaryFolder folder_;
};

TEST_F(ConvertCommand, EightBitsAnswerAsTheModelItself) {
  const Outcome made = fovea({"convert", tiny(), out().string(), "--q-bits", "8"});
  ASSERT_EQ(made.code, 0) << made.err;
  EXPECT_THAT(made.out, StartsWith(out().string() + ": 0.012 GB of weights became 0.00"));
  EXPECT_THAT(made.out, HasSubstr(" bits a weight\n"));
  EXPECT_EQ(answer(out().string()), answer(tiny()));
  const auto plain = (folder_.path() / "plain").string();
  ASSERT_EQ(fovea({"convert", out().string(), plain, "--dequantize"}).code, 0);
  EXPECT_EQ(answer(plain), answer(tiny()));
}

TEST_F(ConvertCommand, RefusesInOneSentence) {
  const std::string to = out().string();
  expect_refused({"convert"}, "[convert] expected MODEL and OUT but got neither");
  expect_refused({"convert", tiny()}, "expected MODEL and OUT but got only one");
  expect_refused({"convert", "/no/where", to}, "there is no folder '/no/where'");
  expect_refused({"convert", "org/name", to}, "run fovea pull org/name");
  expect_refused({"convert", tiny(), to, "--q-bits", "7"}, "[--q-bits] expected one of 2, 3, 4");
  expect_refused({"convert", tiny(), to, "--q-mode", "int4"}, "[--q-mode] expected one of affine");
  expect_refused({"convert", tiny(), to, "--q-mode", "mxfp4", "--q-bits", "8"}, "[--q-mode]");
  expect_refused({"convert", tiny(), to, "--q-recipe", "mixed_3_6", "--q-bits", "8"},
                 "[--q-recipe] expected no");
  expect_refused({"convert", tiny(), to, "--quantize", "--dequantize"}, "[--dequantize] expected");
  expect_refused({"convert", qwen(), to, "--q-group-size", "128"}, "but got 128; 32 fits");
  expect_refused({"convert", tiny(), folder_.path().string()}, "exists");
  EXPECT_TRUE(fs::is_empty(folder_.path()));
}

// The folder is whole or absent; what a killed run leaves, the next one removes. In the foreground,
// timeout waits until what it killed is gone, and its lock too.
TEST_F(ConvertCommand, KilledAtAnyTimeItLeavesNothingUnderItsName) {
  int kills = 0;
  for (int i = 0; i < 16; ++i) {
    const Outcome outcome = shell(
        fmt::format("timeout --foreground -s KILL 0.{:03} ", 5 + 13 * i) +
        testing::command_line({"convert", tiny(), out().string(), "--quantize", "--q-vision"}));
    if (outcome.code == 0) {
      EXPECT_NE(answer(out().string()), "");
      fs::remove_all(out());
      continue;
    }
    ++kills;
    // Only between the renaming and the end may it be there: whole.
    if (fs::exists(out())) {
      EXPECT_NE(answer(out().string()), "");
    }
    fs::remove_all(out());
    EXPECT_LE(std::distance(fs::directory_iterator(folder_.path()), {}), 1);
  }
  EXPECT_GT(kills, 0);
  EXPECT_EQ(fovea({"convert", tiny(), out().string(), "--quantize"}).code, 0);
  EXPECT_EQ(std::distance(fs::directory_iterator(folder_.path()), {}), 1);
}

TEST_F(ConvertCommand, AFullDiskIsToldAndNothingIsLeft) {
  const Outcome full =
      shell("ulimit -f 2048; " + testing::command_line({"convert", tiny(), out().string()}));
  EXPECT_EQ(full.code, 1) << full.err;
  EXPECT_THAT(full.err,
              HasSubstr("fovea: [weights] expected to write 'model.safetensors' but got"));
  EXPECT_TRUE(fs::is_empty(folder_.path()));
}

}  // namespace
}  // namespace fovea

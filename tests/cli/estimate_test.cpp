// fovea generate --estimate: the parts add up, and no weights are read.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/json.h"
#include "support/command_line.h"
#include "support/fixtures.h"

namespace fovea {
namespace {

using ::testing::HasSubstr;
using testing::Outcome;

const std::string& model() {
  static const std::string path =
      testing::fixture_path("parity/qwen2_vl/checkpoints/mlx-4bit").string();
  return path;
}

Json estimate(std::vector<std::string> more) {
  std::vector<std::string> words = {"generate", "--model", model(),     "--prompt",
                                    "Hi",       "--json",  "--estimate"};
  words.insert(words.end(), more.begin(), more.end());
  const Outcome told = testing::fovea(words);
  EXPECT_EQ(told.code, 0) << told.err;
  return Json::parse(told.out, "output");
}

std::string picture() {
  return testing::fixture_path("parity/qwen2_vl/cases/one_picture/picture.png").string();
}

TEST(Estimate, PartsAddUp) {
  const Json told = estimate({"--image", picture(), "--max-tokens", "16"});
  const auto of = [&](const char* key) { return told[key].as_int(); };
  EXPECT_EQ(of("total"),
            of("process") + of("weights") + of("cache") + std::max(of("vision"), of("prompt")));
  EXPECT_GT(of("vision"), 0);
  EXPECT_GT(of("available"), of("total"));
  const auto file =
      std::filesystem::file_size(std::filesystem::path(model()) / "model.safetensors");
  EXPECT_GT(of("weights"), static_cast<int64_t>(file) - 16384);
  EXPECT_LT(of("weights"), static_cast<int64_t>(file));
}

// Two layers with two heads of 16 keys and values in bfloat16, and room for 256 rows at first.
TEST(Estimate, KeysAndValuesFollowTheContext) {
  constexpr int64_t kRow = 2 * 2 * 2 * 16 * 2;
  EXPECT_EQ(estimate({"--max-tokens", "16"})["cache"].as_int(), 256 * kRow);
  EXPECT_EQ(estimate({"--max-tokens", "300"})["cache"].as_int(), 512 * kRow);
}

TEST(Estimate, TowersCountOnlyWithAPicture) {
  const Json without = estimate({});
  EXPECT_EQ(without["vision"].as_int(), 0);
  EXPECT_LT(without["weights"].as_int(), estimate({"--image", picture()})["weights"].as_int());
}

TEST(Estimate, SaysWhetherItFits) {
  const Outcome told =
      testing::fovea({"generate", "--model", model(), "--prompt", "Hi", "--estimate"});
  EXPECT_EQ(told.code, 0) << told.err;
  EXPECT_THAT(told.out, HasSubstr(" GB  weights\n"));
  EXPECT_THAT(told.out, HasSubstr(" GB  available: it fits\n"));
}

}  // namespace
}  // namespace fovea

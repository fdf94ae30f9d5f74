// fovea generate --estimate: the parts add up, and no weights are read.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <cstring>
#include <filesystem>

#include "base/file.h"
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
            of("process") + std::max(of("vision"), of("weights") + of("cache") + of("prompt")));
  EXPECT_GT(of("vision"), 0);
  EXPECT_GT(of("available"), of("total"));
  // Of the decoder: the tower has the rest of the file.
  const auto file =
      std::filesystem::file_size(std::filesystem::path(model()) / "model.safetensors");
  EXPECT_GT(of("weights"), static_cast<int64_t>(file) / 4);
  EXPECT_LT(of("weights"), static_cast<int64_t>(file));
}

// Two layers with a head of 16 keys and values in bfloat16, with room for the prompt and up to
// 256 rows of the answer, at least 256 in all, and for more by stretches of 256.
TEST(Estimate, KeysAndValuesFollowTheContext) {
  constexpr int64_t kRow = 2 * 2 * 16 * 2;
  const auto rows = [&](const char* tokens) {
    return estimate({"--max-tokens", tokens})["cache"].as_int() / kRow;
  };
  const auto prompt = rows("16") - 16;
  EXPECT_GT(prompt, 0);
  EXPECT_LT(prompt, 64);
  EXPECT_EQ(rows("300"), prompt + 300);
}

// Of two layers' heads of 16, which are 32 codes and a group's scale and bias in 8 bits.
TEST(Estimate, KeysAndValuesMayBeInEightBits) {
  const auto cache = [&](std::vector<std::string> flags) {
    flags.insert(flags.end(), {"--max-tokens", "16"});
    return estimate(flags)["cache"].as_int();
  };
  const auto plain = cache({});
  const auto rows = plain / (2 * 2 * 16 * 2);
  EXPECT_GT(rows, 16);
  EXPECT_EQ(cache({"--kv-bits", "8", "--quantized-kv-start", "0"}), rows * 2 * 2 * (32 + 8));
  EXPECT_EQ(cache({"--kv-bits", "8"}), plain);  // from row 5000 on
  EXPECT_EQ(cache({"--kv-bits", "8", "--quantized-kv-start", "4"}), rows * 2 * 2 * (32 + 8));
}

TEST(Estimate, TowersCountOnlyWithAPicture) {
  EXPECT_EQ(estimate({})["vision"].as_int(), 0);
  EXPECT_GT(estimate({"--image", picture()})["vision"].as_int(), 0);
}

// Two layers look at 4 tiles of 10 rows with a head of 8 keys and values in bfloat16, however many
// of the tiles the picture fills; the two others keep the picture's token. The tower keeps 48
// values of each row beside its scratch, of widths 16, 24 and 32.
TEST(Estimate, CountsWhatLayersLookAtInPictures) {
  const auto folder = testing::fixture_path("parity/mllama");
  const auto part = [&](const char* key, std::vector<std::string> pictures) {
    std::vector<std::string> words = {
        "generate",   "--model",      (folder / "checkpoints/hf-bf16").string(),
        "--prompt",   "Hi",           "--json",
        "--estimate", "--max-tokens", "4"};
    for (const auto& name : pictures) {
      words.insert(words.end(), {"--image", (folder / "cases/turns" / name).string()});
    }
    const Outcome told = testing::fovea(words);
    EXPECT_EQ(told.code, 0) << told.err;
    return Json::parse(told.out, "output")[key].as_int();
  };
  constexpr int64_t kPicture = 2 * 2 * 40 * 8 * 2;
  constexpr int64_t kToken = 2 * 2 * 8 * 2;
  const auto text = part("cache", {});
  EXPECT_EQ(part("cache", {"square.png"}) - text, kPicture + kToken);
  EXPECT_EQ(part("cache", {"square.png", "wide.png"}) - text, 2 * (kPicture + kToken));
  constexpr int64_t kPixels = 4 * 3 * 12 * 12 * 4;
  const auto vision = part("vision", {"four.png"});
  EXPECT_EQ(vision, 78 * 40 * (16 + 24 + 32) * 4 / 10 + 40 * 48 * 4 + kPixels);
}

// Bytes of a checkpoint's tensors whose names start so.
int64_t bytes_of(const std::filesystem::path& file, const std::string& prefix) {
  const std::string all = read_file(file);
  uint64_t header = 0;
  std::memcpy(&header, all.data(), sizeof(header));
  const Json tensors = Json::parse(all.substr(sizeof(header), header), "header");
  int64_t bytes = 0;
  for (const auto& name : tensors.keys()) {
    if (!name.starts_with(prefix)) continue;
    const auto ends = tensors[name]["data_offsets"].as_int_list();
    bytes += ends[1] - ends[0];
  }
  return bytes;
}

// Of a table that is no head, only the prompt's rows are read.
TEST(Estimate, CountsTheTableOfAModelWithoutAHead) {
  const auto weights = [](const std::string& name) {
    const auto folder = testing::fixture_path("parity/number_types/checkpoints/" + name);
    const Outcome told = testing::fovea(
        {"generate", "--model", folder.string(), "--prompt", "Hi", "--json", "--estimate"});
    EXPECT_EQ(told.code, 0) << told.err;
    const auto file = folder / "model.safetensors";
    const int64_t decoder = bytes_of(file, "language_model.");
    const int64_t table = bytes_of(file, "language_model.model.embed_tokens.");
    EXPECT_GT(table, 0);
    return std::array{Json::parse(told.out, "output")["weights"].as_int(), decoder, table};
  };
  const auto [tied, tied_decoder, tied_table] = weights("mlx-bf16");
  EXPECT_EQ(tied, tied_decoder);
  const auto [untied, untied_decoder, untied_table] = weights("mlx-f16-untied");
  EXPECT_EQ(untied, untied_decoder - untied_table);
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

// Bit by bit what the reference's converter wrote from the same checkpoints, and MLX's own
// quantisation where there is no such checkpoint.
#include "convert/convert.h"

#include <cstring>
#include <map>

#include "base/file.h"
#include "convert/config.h"
#include "convert/weight_stream.h"
#include "mlx/ops.h"
#include "mlx/transforms.h"
#include "nn/safetensors.h"
#include "support/expect_error.h"
#include "support/fixtures.h"
#include "support/temporary_folder.h"

namespace fovea::convert {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

const std::string kQwen = "parity/qwen2_vl/checkpoints/";
const std::string kQwenBf16 = "parity/number_types/checkpoints/mlx-bf16";
// Groups of 64 fit its rows.
const std::string kWide = "parity/mixed_bits/checkpoints/";

std::map<std::string, mx::array> tensors_in(const fs::path& folder) {
  std::map<std::string, mx::array> all;
  for (const auto& entry : fs::directory_iterator(folder)) {
    if (entry.path().extension() != ".safetensors") continue;
    for (auto& [name, value] : nn::map_safetensors(entry.path())) all.emplace(name, value);
  }
  return all;
}

Checkpoint fixture(const std::string& name) {
  return open_checkpoint(testing::fixture_path(name).string());
}

Options quantizing(const Recipe& recipe) {
  Options options;
  options.weights.dtype = mx::bfloat16;
  options.weights.recipe = recipe;
  return options;
}

void expect_same_bits(const std::string& name, const mx::array& ours, const mx::array& theirs) {
  ASSERT_EQ(ours.dtype(), theirs.dtype()) << name;
  ASSERT_EQ(ours.shape(), theirs.shape()) << name;
  const auto bits = [](const mx::array& x) { return mx::view(mx::flatten(x), mx::uint8); };
  EXPECT_TRUE(mx::array_equal(bits(ours), bits(theirs)).item<bool>()) << name;
}

class Convert : public ::testing::Test {
 protected:
  Converted run(const std::string& source, const Options& options) {
    return convert_checkpoint(fixture(source), options, out());
  }
  fs::path out() const { return folder_.path() / "out"; }

  void expect_equal_to(const std::string& reference) const {
    const auto ours = tensors_in(out());
    const auto theirs = tensors_in(testing::fixture_path(reference));
    for (const auto& [name, value] : theirs) {
      ASSERT_TRUE(ours.contains(name)) << name;
      expect_same_bits(name, ours.at(name), value);
    }
    EXPECT_EQ(ours.size(), theirs.size());
  }

  testing::TemporaryFolder folder_;
};

TEST_F(Convert, TypesAndLayoutAreTheReferences) {
  Options options;
  options.weights.dtype = mx::bfloat16;
  const Converted made = run(kQwen + "hf-f32", options);
  expect_equal_to(kQwenBf16);
  EXPECT_EQ(made.bytes_before, 2 * made.bytes_after);
  EXPECT_EQ(made.bits_per_weight(), 16);
}

TEST_F(Convert, FourBitsAreTheReferences) {
  const Converted made = run(kQwen + "hf-f32", quantizing({quant_format("affine", 32, 4), {}}));
  expect_equal_to(kQwen + "mlx-4bit");
  EXPECT_GT(made.bits_per_weight(), 4.5);
  EXPECT_LT(made.bits_per_weight(), 16);
  EXPECT_EQ(fixture(kQwen + "mlx-4bit").config["quantization"].dump(),
            open_checkpoint(out().string()).config["quantization"].dump());
}

TEST_F(Convert, StacksOfExpertsAreQuantizedRowByRow) {
  const std::string folder = "parity/qwen3_vl_moe/checkpoints/";
  run(folder + "hf-f32", quantizing({quant_format("affine", 32, 4), {}}));
  const auto made = tensors_in(out());
  const auto plain = [&] {
    fs::rename(out(), out().string() + "-4bit");
    run(folder + "hf-f32", {});
    return tensors_in(out());
  }();
  const std::string path = "language_model.model.layers.1.mlp.switch_mlp.gate_proj.";
  const auto expected = mx::quantize(mx::astype(plain.at(path + "weight"), mx::bfloat16), 32, 4);
  expect_same_bits("weight", made.at(path + "weight"), expected[0]);
  expect_same_bits("scales", made.at(path + "scales"), expected[1]);
  EXPECT_NO_THROW(models::load_model(open_checkpoint(out().string() + "-4bit")));
}

TEST_F(Convert, MixedBitsAreTheReferences) {
  run(kWide + "hf-f16", quantizing(mixed_recipe("mixed_4_8")));
  expect_equal_to(kWide + "mlx-4bit-8bit");
  const Json ours = open_checkpoint(out().string()).config["quantization"];
  const Json theirs = fixture(kWide + "mlx-4bit-8bit").config["quantization"];
  for (const auto& path : theirs.keys()) {
    if (!theirs[path].is_object()) continue;
    const int bits = ours.contains(path) ? ours[path]["bits"].as_int32() : ours["bits"].as_int32();
    EXPECT_EQ(bits, theirs[path]["bits"].as_int32()) << path;
  }
}

TEST_F(Convert, EveryFormatIsWhatMlxGives) {
  const auto plain = tensors_in(testing::fixture_path(kWide + "hf-f16"));
  std::vector<QuantFormat> formats = {quant_format("mxfp4", {}, {}), quant_format("nvfp4", {}, {}),
                                      quant_format("mxfp8", {}, {})};
  for (const int bits : {2, 3, 4, 5, 6, 8}) {
    for (const int group : {32, 64}) formats.push_back({"affine", group, bits});
  }
  const std::string path = "language_model.model.layers.1.mlp.down_proj.";
  for (const auto& format : formats) {
    SCOPED_TRACE(fmt::format("{} {} {}", format.mode, format.group_size, format.bits));
    fs::remove_all(out());
    run(kWide + "hf-f16", quantizing({format, {}}));
    const auto made = tensors_in(out());
    const auto weight = mx::astype(plain.at(path + "weight"), mx::bfloat16);
    const auto expected = mx::quantize(weight, format.group_size, format.bits, format.mode);
    expect_same_bits("weight", made.at(path + "weight"), expected[0]);
    expect_same_bits("scales", made.at(path + "scales"), expected[1]);
    ASSERT_EQ(made.contains(path + "biases"), expected.size() == 3);
    if (expected.size() == 3) expect_same_bits("biases", made.at(path + "biases"), expected[2]);
    const Json quantization = open_checkpoint(out().string()).config["quantization_config"];
    EXPECT_EQ(quantization["mode"].as_string(), format.mode);
    EXPECT_EQ(quantization["group_size"].as_int32(), format.group_size);
    EXPECT_NO_THROW(models::load_model(open_checkpoint(out().string())));
  }
}

TEST_F(Convert, DequantizingGivesWhatTheBitsStandFor) {
  Options options;
  options.weights.dequantize = true;
  options.weights.dtype = mx::bfloat16;
  run(kQwen + "mlx-4bit", options);
  const auto packed = tensors_in(testing::fixture_path(kQwen + "mlx-4bit"));
  const auto made = tensors_in(out());
  const std::string path = "language_model.model.embed_tokens.";
  expect_same_bits(path, made.at(path + "weight"),
                   mx::dequantize(packed.at(path + "weight"), packed.at(path + "scales"),
                                  packed.at(path + "biases"), 32, 4));
  EXPECT_FALSE(made.contains(path + "scales"));
  EXPECT_FALSE(open_checkpoint(out().string()).config.contains("quantization"));
  EXPECT_FALSE(open_checkpoint(out().string()).config.contains("quantization_config"));
  EXPECT_NO_THROW(models::load_model(open_checkpoint(out().string())));
}

TEST_F(Convert, DequantizesFloatsOfFourBits) {
  const fs::path packed_folder = out().string() + "-packed";
  run(kQwen + "hf-f32", quantizing({quant_format("mxfp4", {}, {}), {}}));
  fs::rename(out(), packed_folder);
  Options options;
  options.weights.dequantize = true;
  convert_checkpoint(open_checkpoint(packed_folder.string()), options, out());
  const auto packed = tensors_in(packed_folder);
  const auto made = tensors_in(out());
  const std::string path = "language_model.model.layers.0.mlp.up_proj.";
  const auto plain = mx::dequantize(packed.at(path + "weight"), packed.at(path + "scales"),
                                    std::nullopt, 32, 4, "mxfp4");
  expect_same_bits(path, made.at(path + "weight"), mx::astype(plain, mx::bfloat16));
}

TEST_F(Convert, TowersAreQuantizedWhenAsked) {
  Options options = quantizing({quant_format("affine", 32, 8), {}});
  run(kQwen + "hf-f32", options);
  EXPECT_FALSE(tensors_in(out()).contains("vision_tower.merger.mlp.0.scales"));
  fs::remove_all(out());
  options.weights.towers = Towers::kQuantized;
  run(kQwen + "hf-f32", options);
  const auto made = tensors_in(out());
  EXPECT_TRUE(made.contains("vision_tower.merger.mlp.0.scales"));
  EXPECT_EQ(made.at("vision_tower.patch_embed.proj.weight").ndim(), 5u);
  EXPECT_NO_THROW(models::load_model(open_checkpoint(out().string())));
}

TEST_F(Convert, ShardsAndIndexHoldEveryTensorOnce) {
  Options options;
  options.shard_bytes_max = 50'000;
  const Converted made = run(kQwen + "hf-f32", options);
  EXPECT_GT(made.files, 2);
  const Json index = open_checkpoint(out().string()).read_json("model.safetensors.index.json");
  EXPECT_EQ(index["metadata"]["total_size"].as_int(), made.bytes_after);
  EXPECT_EQ(index["weight_map"].size(), tensors_in(out()).size());
  for (const auto& name : index["weight_map"].keys()) {
    EXPECT_LE(fs::file_size(out() / index["weight_map"][name].as_string()), 50'000u + 8192u);
  }
  EXPECT_NO_THROW(models::load_model(open_checkpoint(out().string())));
}

// Rows come out the same whatever pieces they are read in: here one piece, there several.
TEST_F(Convert, LargeWeightsAreReadInPieces) {
  constexpr int kRows = 5000;
  constexpr int kColumns = 4096;
  const auto rows = mx::reshape(mx::arange(kRows), {kRows, 1});
  const auto columns = mx::reshape(mx::arange(kColumns), {1, kColumns});
  auto weight =
      mx::astype(mx::sin(mx::add(mx::multiply(rows, mx::array(0.37f)), columns)), mx::bfloat16);
  mx::eval(weight);
  PlannedWeight planned;
  planned.work = PlannedWeight::Work::kQuantize;
  planned.sources = {weight};
  planned.dtype = mx::bfloat16;
  planned.format = quant_format("affine", 64, 4);
  planned.entries = {{"w", "U32", {kRows, kColumns / 8}},
                     {"s", "BF16", {kRows, kColumns / 64}},
                     {"b", "BF16", {kRows, kColumns / 64}}};
  std::vector<std::byte> bytes;
  int64_t read = 0;
  WeightStream([&](auto piece) { bytes.insert(bytes.end(), piece.begin(), piece.end()); },
               [&](int64_t count) { read += count; })
      .write(planned);
  EXPECT_EQ(read, static_cast<int64_t>(weight.nbytes()));
  auto expected = mx::quantize(weight, 64, 4);
  mx::eval(expected);
  const std::byte* at = bytes.data();
  for (const auto& array : expected) {
    ASSERT_LE(at + array.nbytes(), bytes.data() + bytes.size());
    EXPECT_EQ(std::memcmp(at, array.data<uint8_t>(), array.nbytes()), 0);
    at += array.nbytes();
  }
  EXPECT_EQ(at, bytes.data() + bytes.size());
}

TEST_F(Convert, SidecarsComeAlongAndNothingElse) {
  const fs::path source = folder_.path() / "source";
  fs::copy(testing::fixture_path(kQwen + "hf-f32"), source, fs::copy_options::recursive);
  for (const char* name : {"modeling.py", "pytorch_model.bin", ".hidden.json", "LICENSE.txt",
                           "more/extra.jinja", "more/evil.py"}) {
    fs::create_directories((source / name).parent_path());
    write_file_atomic(source / name, "x");
  }
  write_file_atomic(source / "README.md",
                    "---\nlicense: apache-2.0\nlanguage:\n- en\n- de\ntags:\n- old\n---\nHello\n");
  convert_checkpoint(open_checkpoint(source.string()), {}, out());
  for (const char* name : {"tokenizer.json", "generation_config.json", "LICENSE.txt",
                           "more/extra.jinja", "preprocessor_config.json"}) {
    EXPECT_TRUE(fs::exists(out() / name)) << name;
  }
  for (const char* name : {"modeling.py", "pytorch_model.bin", ".hidden.json", "more/evil.py"}) {
    EXPECT_FALSE(fs::exists(out() / name)) << name;
  }
  const std::string card = read_file(out() / "README.md");
  EXPECT_THAT(card, HasSubstr("library_name: mlx\n"));
  EXPECT_THAT(card, HasSubstr("license: apache-2.0\nlanguage:\n- en\n- de\n---\n"));
  EXPECT_EQ(card.find("old"), std::string::npos);
}

TEST_F(Convert, ConfigKeepsItsMembersAndSaysTheType) {
  const Json config = Json::parse(
      R"({"z": [1, 2.5], "_name_or_path": "/home", "torch_dtype": "float32",
          "text_config": {"dtype": "float32", "a": 1}})",
      "config.json");
  WeightOptions options;
  options.dtype = mx::float16;
  EXPECT_EQ(converted_config(config, options, {}).dump(),
            R"({"text_config":{"a":1,"dtype":"float16"},"torch_dtype":"float16","z":[1,2.5]})");
  Plan plan;
  plan.weights.emplace_back().path = "language_model.lm_head";
  EXPECT_EQ(converted_config(Json::parse(R"({"tie_word_embeddings": true,
                                             "text_config": {"tie_word_embeddings": true}})",
                                         "config.json"),
                             options, plan)
                .dump(),
            R"({"text_config":{"tie_word_embeddings":false},"tie_word_embeddings":false})");
  EXPECT_EQ(config_dtype(config), mx::float32);
  EXPECT_EQ(config_dtype(Json::parse(R"({"text_config": {"dtype": "bfloat16"}})", "x")),
            mx::bfloat16);
  EXPECT_FALSE(config_dtype(Json::parse(R"({"torch_dtype": "int8"})", "x")).has_value());
}

TEST_F(Convert, RefusesInOneSentenceAndLeavesNothing) {
  const auto affine = [](int group) { return quantizing({quant_format("affine", group, 4), {}}); };
  EXPECT_ERROR(run(kQwen + "mlx-4bit", affine(64)), ErrorKind::kInvalidArgument,
               "has 4 bits already; --dequantize first");
  EXPECT_ERROR(run(kQwen + "hf-f32", affine(128)), ErrorKind::kInvalidArgument,
               "expected a divisor of the 32 inputs of 'language_model.model.embed_tokens' but got "
               "128; 32 fits");
  Options options;
  options.weights.dequantize = true;
  EXPECT_ERROR(run(kQwen + "hf-f32", options), ErrorKind::kInvalidArgument, "there are none");
  options = {};
  options.stopped = [] { return true; };
  EXPECT_ERROR(run(kQwen + "hf-f32", options), ErrorKind::kCancelled, "stopped");
  EXPECT_TRUE(fs::is_empty(folder_.path()));
  fs::create_directory(out());
  EXPECT_ERROR(run(kQwen + "hf-f32", {}), ErrorKind::kInvalidArgument, "exists");
  EXPECT_TRUE(fs::is_empty(out()));
}

}  // namespace
}  // namespace fovea::convert

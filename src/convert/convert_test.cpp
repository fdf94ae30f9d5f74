// Bit by bit what the reference's converter wrote from the same checkpoints, and MLX's own
// quantisation where there is no such checkpoint.
#include "convert/convert.h"

#include <cstring>
#include <map>

#include "base/file.h"
#include "convert/config.h"
#include "convert/weight_stream.h"
#include "mlx/io.h"
#include "mlx/ops.h"
#include "mlx/transforms.h"
#include "nn/linear.h"
#include "nn/safetensors.h"
#include "nn/weights.h"
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

  Converted run_elsewhere(const std::string& source, const Options& options) {
    return convert_checkpoint(fixture(source), options, folder_.path() / "elsewhere");
  }
  Json quantization() const { return open_checkpoint(out().string()).config["quantization"]; }

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
  fs::remove_all(out());
  fs::rename(out().string() + "-4bit", out());
  expect_equal_to(folder + "mlx-4bit");
}

// All experts of a large model do not fit into memory: what a converter reads are views of the
// file, and what a model computes with lies as its kernels want it, both matrix by matrix.
TEST_F(Convert, ExpertsAreTurnedPieceByPiece) {
  struct Stack : nn::PathVisitor {
    void quantizable(nn::QuantizableWeight& weight) override {
      for (const auto& matrix : weight.matrices()) matrices.push_back(matrix);
    }
    void parameter(const std::string& name, mx::array& value) override {
      if (full_name(name).find("switch_mlp.") == std::string::npos) return;
      EXPECT_FALSE(value.is_available()) << full_name(name);  // or all would be there twice
    }
    std::vector<mx::array> matrices;
  };
  const Checkpoint checkpoint = fixture("parity/qwen3_vl_moe/checkpoints/hf-f32");
  for (const auto turned : {nn::Turned::kViewed, nn::Turned::kCopied}) {
    const auto model = models::load_model(checkpoint, turned);
    Stack found;
    model->visit(found);
    ASSERT_EQ(found.matrices.size(), 12u);  // three of each of four experts
    for (const auto& matrix : found.matrices) {
      EXPECT_EQ(matrix.flags().row_contiguous, turned == nn::Turned::kCopied);
    }
  }
}

// What Hugging Face's folders have: each expert by itself, or stacks either way round.
TEST_F(Convert, ExpertsOfEveryLayoutAreTheSame) {
  const std::string folder = "parity/qwen3_vl_moe/checkpoints/";
  const auto turned = [](const mx::array& stack) { return mx::transpose(stack, {0, 2, 1}); };
  const auto apart = [](auto& all, const std::string& stem, const auto& name, const mx::array& w) {
    for (int e = 0; e < w.shape(0); ++e) {
      all.emplace(fmt::format("{}.{}.{}.weight", stem, e, name), mx::take(w, e, 0));
    }
  };
  const auto alone = [&](auto& all, const std::string& stem, const mx::array& both,
                         const mx::array& down) {
    const auto halves = mx::split(turned(both), 2, 1);
    apart(all, stem, "gate_proj", halves[0]);
    apart(all, stem, "up_proj", halves[1]);
    apart(all, stem, "down_proj", turned(down));
  };
  const auto in_rows = [&](auto& all, const std::string& stem, const mx::array& both,
                           const mx::array& down) {
    all.emplace(stem + ".gate_up_proj", turned(both));
    all.emplace(stem + ".down_proj", turned(down));
  };
  const auto write = [&](const fs::path& to, const auto& laid_out) {
    fs::create_directory(to);
    std::unordered_map<std::string, mx::array> all;
    auto tensors = tensors_in(testing::fixture_path(folder + "hf-f32"));
    for (const auto& [name, value] : tensors) {
      const size_t at = name.find(".gate_up_proj");
      if (at != std::string::npos) {
        const std::string stem = name.substr(0, at);
        laid_out(all, stem, value, tensors.at(stem + ".down_proj"));
      } else if (name.find("experts.down_proj") == std::string::npos) {
        all.emplace(name, value);
      }
    }
    for (auto& [name, value] : all) value = mx::contiguous(value);
    mx::save_safetensors((to / "model.safetensors").string(), all);
    const auto source = testing::fixture_path(folder + "hf-f32");
    for (const char* file : {"config.json", "tokenizer.json", "tokenizer_config.json"}) {
      fs::copy(source / file, to / file);
    }
    return open_checkpoint(to.string());
  };
  const auto four_bits = quantizing({quant_format("affine", 32, 4), {}});
  for (const auto& checkpoint :
       {write(folder_.path() / "alone", alone), write(folder_.path() / "rows", in_rows)}) {
    fs::remove_all(out());
    convert_checkpoint(checkpoint, four_bits, out());
    expect_equal_to(folder + "mlx-4bit");
    EXPECT_NO_THROW(models::load_model(checkpoint));
  }
}

// A model that is read for its scales has the same experts, viewed or written out.
TEST_F(Convert, ScalesOfTurnedExpertsAreThoseOfPlainOnes) {
  Options options;
  run("parity/qwen3_vl_moe/checkpoints/hf-f32", options);
  const fs::path plain = out().string() + "-plain";
  fs::rename(out(), plain);
  options = quantizing({quant_format("affine", 32, 4), {}});
  options.awq.emplace();
  convert_checkpoint(open_checkpoint(plain.string()), options, out());
  const auto expected = tensors_in(out());
  fs::rename(out(), out().string() + "-expected");
  run("parity/qwen3_vl_moe/checkpoints/hf-f32", options);
  for (const auto& [name, value] : tensors_in(out())) {
    expect_same_bits(name, value, expected.at(name));
  }
}

// mlx-vlm's Gemma 3 has a head of its own, into which it puts the table's packed weight but not its
// scales: the folder must have all three.
TEST_F(Convert, TiedHeadsAreWrittenWhereMlxVlmWantsThem) {
  const std::string gemma = "parity/gemma3/checkpoints/hf-bf16";
  const std::string table = "language_model.model.embed_tokens.";
  const std::string head = "language_model.lm_head.";
  const auto expect_head = [&] {
    const auto made = tensors_in(out());
    for (const char* part : {"weight", "scales", "biases"}) {
      ASSERT_TRUE(made.contains(head + part)) << part;
      expect_same_bits(part, made.at(head + part), made.at(table + part));
    }
    const Checkpoint checkpoint = open_checkpoint(out().string());
    EXPECT_TRUE(checkpoint.config["tie_word_embeddings"].as_bool());
    EXPECT_NO_THROW(models::load_model(checkpoint));
  };
  run(gemma, {});
  EXPECT_FALSE(tensors_in(out()).contains(head + "weight"));
  fs::remove_all(out());
  const Converted made = run(gemma, quantizing(mixed_recipe("mixed_4_8")));
  expect_head();
  EXPECT_EQ(made.bytes_before, run_elsewhere(gemma, {}).bytes_before);
  EXPECT_EQ(quantization()["language_model.lm_head"]["bits"].as_int32(), 8);
  // Weights that stay packed are written so too, under keys that config.json did not have.
  const fs::path old = out().string() + "-old";
  fs::rename(out(), old);
  std::string config = read_file(old / "config.json");
  const std::string key = "\"language_model.lm_head\"";
  for (size_t at; (at = config.find(key)) != std::string::npos;) {
    config.replace(at, key.size(), "\"elsewhere\"");
  }
  write_file_atomic(old / "config.json", config);
  convert_checkpoint(open_checkpoint(old.string()), {}, out());
  expect_head();
  EXPECT_EQ(quantization()["language_model.lm_head"]["bits"].as_int32(), 8);
}

TEST_F(Convert, HeadsHaveTheNameThatMlxVlmGivesThem) {
  const std::string bunny = "parity/llava_bunny/checkpoints/";
  run(bunny + "hf-bf16", quantizing({quant_format("affine", 32, 4), 8}));
  const auto made = tensors_in(out());
  for (const auto& [name, value] : tensors_in(testing::fixture_path(bunny + "mlx-4bit"))) {
    EXPECT_TRUE(made.contains(name)) << name;
  }
  EXPECT_FALSE(made.contains("language_model.lm_head.weight"));
  EXPECT_EQ(quantization()["language_model.model.lm_head"]["bits"].as_int32(), 8);
  EXPECT_FALSE(quantization().contains("language_model.lm_head"));
  EXPECT_NO_THROW(models::load_model(open_checkpoint(out().string())));
}

// mlx-vlm's Bunny asks for SigLIP's pooling head, which no feature goes through.
TEST_F(Convert, TensorsThatOnlyMlxVlmReadsAreKept) {
  const fs::path source = folder_.path() / "source";
  fs::copy(testing::fixture_path("parity/llava_bunny/checkpoints/hf-bf16"), source);
  const std::string head = "vision_tower.vision_tower.vision_model.head.";
  const int64_t bytes = int64_t{2} * 3 * 4;
  const std::vector<nn::TensorEntry> entries = {
      {"model." + head + "attention.in_proj_weight", "BF16", {3, 4}},
      {"model." + head + "probe", "BF16", {3, 4}}};
  nn::SafetensorsWriter writer(source / "head.safetensors", entries);
  const std::vector<std::byte> ones(static_cast<size_t>(bytes), std::byte{0x3f});
  writer.append(ones);
  writer.append(ones);
  writer.close();
  fs::rename(source / "model.safetensors", source / "rest.safetensors");
  convert_checkpoint(open_checkpoint(source.string()), {}, out());
  const auto made = tensors_in(out());
  EXPECT_TRUE(made.contains(head + "attention.in_proj.weight"));
  EXPECT_TRUE(made.contains(head + "probe"));
  EXPECT_NO_THROW(models::load_model(open_checkpoint(out().string())));
}

TEST_F(Convert, TheFamilysOwnTypeIsWritten) {
  run("parity/pixtral/checkpoints/hf-bf16", {});
  EXPECT_EQ(open_checkpoint(out().string()).config["model_type"].as_string(), "pixtral");
  EXPECT_NO_THROW(models::load_model(open_checkpoint(out().string())));
}

// mlx-vlm's predicate of the family; its mixed recipes do not ask it.
TEST_F(Convert, HeadsStayPlainWhereMlxVlmLeavesThem) {
  const std::string mistral = "parity/mistral3/checkpoints/hf-bf16";
  run(mistral, quantizing({quant_format("affine", 32, 4), {}}));
  EXPECT_FALSE(tensors_in(out()).contains("language_model.lm_head.scales"));
  EXPECT_TRUE(tensors_in(out()).contains("language_model.model.embed_tokens.scales"));
  EXPECT_NO_THROW(models::load_model(open_checkpoint(out().string())));
  fs::remove_all(out());
  run(mistral, quantizing({quant_format("affine", 32, 4), 8}));
  EXPECT_TRUE(tensors_in(out()).contains("language_model.lm_head.scales"));
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

// A folder within the model, and links that lead around in a circle.
TEST_F(Convert, TheResultMayLieInTheModel) {
  const fs::path source = folder_.path() / "source";
  fs::copy(testing::fixture_path(kQwen + "hf-f32"), source, fs::copy_options::recursive);
  fs::create_directories(source / "more");
  write_file_atomic(source / "more" / "extra.jinja", "x");
  fs::create_directory_symlink("..", source / "more" / "around");
  fs::create_directory_symlink(testing::fixture_path(kWide), source / "elsewhere");
  for (const auto& inside : {source / "out", source / "more" / "out"}) {
    convert_checkpoint(open_checkpoint(source.string()), {}, inside);
    EXPECT_TRUE(fs::exists(inside / "more" / "extra.jinja"));
    EXPECT_FALSE(fs::exists(inside / "more" / "around"));
    EXPECT_FALSE(fs::exists(inside / "elsewhere"));
    for (const auto& entry : fs::recursive_directory_iterator(inside)) {
      EXPECT_EQ(entry.path().string().find("partial"), std::string::npos) << entry.path();
    }
    fs::remove_all(inside);
  }
}

TEST_F(Convert, ConfigKeepsItsMembersAndSaysTheType) {
  const Json config = Json::parse(
      R"({"z": [1, 2.5], "model_type": "LLaVA", "_name_or_path": "/home", "torch_dtype": "float32",
          "text_config": {"dtype": "float32", "a": 1}})",
      "config.json");
  WeightOptions options;
  options.dtype = mx::float16;
  EXPECT_EQ(converted_config({"here", "", config, Json()}, options, {}).dump(),
            R"({"model_type":"llava","text_config":{"a":1,"dtype":"float16"},)"
            R"("torch_dtype":"float16","z":[1,2.5]})");
  Plan plan;
  plan.weights.emplace_back().path = "language_model.lm_head";
  const Json tied = Json::parse(R"({"model_type": "llava", "tie_word_embeddings": true,
                                    "text_config": {"tie_word_embeddings": true}})",
                                "config.json");
  EXPECT_EQ(converted_config({"here", "", tied, Json()}, options, plan).dump(),
            R"({"model_type":"llava","text_config":{"tie_word_embeddings":false},)"
            R"("tie_word_embeddings":false})");
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

// What is written is what was planned, and what was planned is the real shape.
#include "cli/synth/checkpoint.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <numeric>

#include "base/file.h"
#include "mlx/ops.h"
#include "mlx/transforms.h"
#include "nn/safetensors.h"
#include "processors/processor.h"
#include "support/temporary_folder.h"

namespace fovea::cli {
namespace {

using ::testing::HasSubstr;
namespace mx = mlx::core;
namespace fs = std::filesystem;

SynthOptions quantized(int bits, int group_size = 64) {
  SynthOptions options;
  options.affine = kernels::Quantization{group_size, bits};
  return options;
}

std::vector<PlannedTensor> plan(const std::string& name, const SynthOptions& options) {
  const SynthShape shape = synth_shape(name);
  const Json config = shape.files["config.json"];
  const auto model = models::build_model({name, "", config, shape.files["generation_config.json"]});
  return plan_weights(*model, config, options);
}

int64_t values(const std::vector<PlannedTensor>& tensors) {
  return std::accumulate(tensors.begin(), tensors.end(), int64_t{0},
                         [](int64_t sum, const auto& t) { return sum + t.entry.values(); });
}

int64_t bytes(const std::vector<PlannedTensor>& tensors) {
  return std::accumulate(tensors.begin(), tensors.end(), int64_t{0},
                         [](int64_t sum, const auto& t) { return sum + t.entry.bytes(); });
}

std::map<std::string, mx::array> read_weights(const fs::path& file) {
  const auto tensors = nn::map_safetensors(file);
  return {tensors.begin(), tensors.end()};
}

float mean_of(const mx::array& x) { return mx::mean(mx::astype(x, mx::float32)).item<float>(); }
float deviation_of(const mx::array& x) { return mx::std(mx::astype(x, mx::float32)).item<float>(); }

// Counts that the models' makers publish.
TEST(SynthShapes, HaveTheParametersOfTheRealModels) {
  EXPECT_EQ(values(plan("qwen2_vl-2b", {})), 2'208'985'600);
  EXPECT_EQ(values(plan("qwen2_vl-7b", {})), 8'291'375'616);
  EXPECT_EQ(values(plan("qwen2_5_vl-3b", {})), 3'754'622'976);
  EXPECT_EQ(values(plan("qwen3_vl-2b", {})), 2'127'532'032);
  EXPECT_EQ(values(plan("qwen3_vl-30b-a3b", {})), 31'070'754'032);
  EXPECT_EQ(values(plan("llava-1.5-7b", {})), 7'063'427'072);
  EXPECT_EQ(values(plan("smolvlm-256m", {})), 256'484'928);
  EXPECT_EQ(values(plan("gemma3-4b", {})), 4'300'079'472);
  EXPECT_EQ(values(plan("paligemma-3b", {})), 2'923'466'480);
  EXPECT_EQ(values(plan("llava-v1.6-mistral-7b", {})), 7'566'747'648);
  EXPECT_EQ(values(plan("phi3_v-3.5", {})), 4'146'621'440);
  EXPECT_EQ(values(plan("pixtral-12b", {})), 12'682'739'712);
  EXPECT_EQ(values(plan("mllama-11b", {})), 10'670'220'835);
  EXPECT_EQ(values(plan("internvl_chat-2.5-1b", {})), 938'193'024);
  EXPECT_EQ(values(plan("whisper-tiny", {})), 37'760'640);
  EXPECT_EQ(values(plan("whisper-small", {})), 241'734'912);
  EXPECT_EQ(values(plan("mistral3-small-3.1-24b", {})), 24'011'361'280);
}

// Wherever a family's config has them; what is not the decoder stays.
TEST(SynthShapes, DecodersCanBeCut) {
  for (const auto& name : synth_shape_names()) {
    SCOPED_TRACE(name);
    const auto built = [&](const SynthShape& shape) {
      const Json& files = shape.files;
      return models::build_model({name, "", files["config.json"], files["generation_config.json"]});
    };
    const SynthShape whole = synth_shape(name);
    const int layers = built(whole)->info().num_layers;
    EXPECT_EQ(built(with_decoder_layers(whole, 1000))->info().num_layers, layers);
    const SynthShape cut = with_decoder_layers(whole, layers - 1);
    EXPECT_EQ(built(cut)->info().num_layers, layers - 1);
    const Json config = cut.files["config.json"];
    EXPECT_EQ(config["vision_config"].dump(), whole.files["config.json"]["vision_config"].dump());
    EXPECT_EQ(cut.vocabulary.dump(), whole.vocabulary.dump());
  }
}

TEST(SynthShapes, FourBitsTakeTheirShareOfTheBytes) {
  const auto tensors = plan("qwen2_vl-2b", quantized(4));
  for (const auto& tensor : tensors) {
    const bool tower = tensor.entry.name.starts_with("vision_tower.");
    EXPECT_FALSE(tower && tensor.entry.dtype != "BF16") << tensor.entry.name;
  }
  // 1.544 G weights of 4.5 bits beside a tower of 0.665 G in bfloat16.
  EXPECT_NEAR(static_cast<double>(bytes(tensors)), 1.544e9 * 4.5 / 8 + 0.665e9 * 2, 2e6);
}

TEST(SynthShapes, UnknownNameListsAll) {
  try {
    synth_shape("gpt");
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kInvalidArgument);
    EXPECT_THAT(error.what(), HasSubstr("qwen2_vl-2b, qwen2_vl-7b"));
    EXPECT_THAT(error.what(), HasSubstr("but got 'gpt'"));
  }
}

class SynthFolder : public ::testing::TestWithParam<const char*> {
 protected:
  testing::TemporaryFolder folder_;
};

TEST_P(SynthFolder, SizesAddUpAndEveryTensorHasItsPlace) {
  for (const int bits : {0, 2, 4, 6}) {
    const SynthOptions options = bits ? quantized(bits) : SynthOptions();
    const fs::path out = folder_.path() / std::to_string(bits);
    const auto written = write_synth_checkpoint(synth_shape(GetParam()), options, out);
    EXPECT_EQ(written.files, 1);
    EXPECT_EQ(written.bytes, bytes(plan(GetParam(), options)));
    const auto size = static_cast<int64_t>(fs::file_size(out / "model.safetensors"));
    EXPECT_GT(size, written.bytes);
    EXPECT_LT(size, written.bytes + 32768);
    EXPECT_NO_THROW(models::load_model(open_checkpoint(out.string())));
  }
}

TEST_P(SynthFolder, SpecialTokensStandWhereTheConfigSaysTheyDo) {
  write_synth_checkpoint(synth_shape(GetParam()), {}, folder_.path());
  const Checkpoint checkpoint = open_checkpoint(folder_.path().string());
  const processors::Processor processor(checkpoint);
  const auto& tokenizer = *processor.tokenizer();
  for (const char* key : {"image_token_index", "image_token_id"}) {
    const Json id = checkpoint.config[key];
    if (id.is_null()) continue;
    EXPECT_THAT(
        tokenizer.id_to_token(id.as_int32()),
        ::testing::AnyOf("<image>", "<|image_pad|>", "<|image|>", "<image_soft_token>", "[IMG]"));
  }
  EXPECT_THAT(models::load_model(checkpoint)->info().eos_token_ids,
              ::testing::IsSupersetOf(tokenizer.eos_token_ids()));
  EXPECT_EQ(tokenizer.encode(" a b aa", false).size(), 3u);
  EXPECT_EQ(tokenizer.decode(tokenizer.encode(" a \xC3\xA9 zq9", false), true), " a \xC3\xA9 zq9");
}

TEST_P(SynthFolder, WeightsHaveNoMeanAndTheSpreadOfTheirFanIn) {
  for (const int bits : {2, 3, 4, 8}) {
    const fs::path out = folder_.path() / std::to_string(bits);
    write_synth_checkpoint(synth_shape(GetParam()), quantized(bits, 32), out);
    const auto tensors = read_weights(out / "model.safetensors");
    const std::string body = tensors.contains("model.norm.weight") ? "model."
                             : tensors.contains("language_model.norm.weight")
                                 ? "language_model."
                                 : "language_model.model.";
    const std::string path = body + "layers.1.mlp.down_proj.";
    const auto weight = mx::dequantize(tensors.at(path + "weight"), tensors.at(path + "scales"),
                                       tensors.at(path + "biases"), 32, bits);
    const float expected = 1 / std::sqrt(static_cast<float>(weight.shape(1)));
    EXPECT_NEAR(mean_of(weight), 0, 0.04f * expected) << bits;
    EXPECT_NEAR(deviation_of(weight), expected, 0.06f * expected) << bits;
    const auto& norm = tensors.at(body + "norm.weight");
    EXPECT_NEAR(mean_of(norm), 1, 0.02f);
  }
}

TEST_P(SynthFolder, ShardsAreNamedByTheIndexAndLoad) {
  const SynthShape shape = synth_shape(GetParam());
  write_synth_checkpoint(shape, {}, folder_.path());
  fs::remove(folder_.path() / "model.safetensors");
  const auto tensors = plan(GetParam(), {});
  const auto written = write_weights(folder_.path(), tensors, {}, 100'000);
  EXPECT_GT(written.files, 2);
  const Checkpoint checkpoint = open_checkpoint(folder_.path().string());
  const Json index = checkpoint.read_json("model.safetensors.index.json");
  EXPECT_EQ(index["weight_map"].size(), tensors.size());
  EXPECT_EQ(index["metadata"]["total_size"].as_int(), written.bytes);
  EXPECT_NO_THROW(models::load_model(checkpoint));
}

TEST_P(SynthFolder, TheSeedDecidesTheBytes) {
  const auto written = [&](const char* name, uint64_t seed) {
    SynthOptions options = quantized(4);
    options.seed = seed;
    write_synth_checkpoint(synth_shape(GetParam()), options, folder_.path() / name);
    return read_file(folder_.path() / name / "model.safetensors");
  };
  EXPECT_EQ(written("a", 1), written("b", 1));
  EXPECT_NE(written("c", 1), written("d", 2));
}

TEST_P(SynthFolder, AFolderInUseIsLeftAlone) {
  folder_.write("letter.txt", "dear");
  EXPECT_THROW(write_synth_checkpoint(synth_shape(GetParam()), {}, folder_.path()), Error);
  EXPECT_EQ(read_file(folder_.path() / "letter.txt"), "dear");
  EXPECT_THROW(
      write_synth_checkpoint(synth_shape(GetParam()), {}, folder_.path() / "letter.txt" / "x"),
      Error);
}

INSTANTIATE_TEST_SUITE_P(Tiny, SynthFolder,
                         ::testing::Values("qwen2_vl-tiny", "llava-tiny", "idefics3-tiny",
                                           "qwen2_5_vl-tiny", "qwen3_vl-tiny", "gemma3-tiny",
                                           "paligemma-tiny", "llava_next-tiny", "phi3_v-tiny",
                                           "pixtral-tiny", "mistral3-tiny", "internvl_chat-tiny",
                                           "nanollava-tiny", "mllama-tiny"),
                         [](const auto& shape) {
                           const std::string name = shape.param;
                           return name.substr(0, name.find('-'));
                         });

}  // namespace
}  // namespace fovea::cli

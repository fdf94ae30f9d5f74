// Every case of tests/fixtures/parity, stage by stage, against what the reference gave. The first
// stage that differs is named; docs/parity.md explains stages and tolerances.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <map>

#include "generate/engine.h"
#include "kernels/numerics.h"
#include "mlx/io.h"
#include "mlx/ops.h"
#include "mlx/transforms.h"
#include "models/model.h"
#include "nn/safetensors.h"
#include "processors/processor.h"
#include "support/fixtures.h"
#include "support/parity_cases.h"

namespace fovea {
namespace {

using testing::Case;
using testing::read_request;

namespace fs = std::filesystem;
namespace mx = mlx::core;

std::vector<float> floats_of(const mx::array& a) {
  mx::array flat = mx::contiguous(mx::astype(a, mx::float32));
  mx::eval(flat);
  return {flat.data<float>(), flat.data<float>() + flat.size()};
}

using Stages = std::map<std::string, mx::array>;

Stages read_stages(const fs::path& folder) {
  Stages stages;
  for (auto& [name, value] : nn::map_safetensors(folder / "stages.safetensors")) {
    stages.emplace(name, value);
  }
  return stages;
}

// The largest difference as a share of the expected stage's largest value.
double worst_share(const std::vector<float>& got, const std::vector<float>& expected) {
  double worst = 0;
  double largest = 1e-9;
  for (size_t i = 0; i < expected.size(); ++i) {
    worst = std::max(worst, std::abs(double{got[i]} - expected[i]));
    largest = std::max(largest, std::abs(double{expected[i]}));
    if (std::isnan(got[i])) return INFINITY;
  }
  return worst / largest;
}

// Runs the whole path in-process and keeps what it showed on the way.
struct Answer {
  Prompt prompt;
  Stages stages;
  std::vector<int32_t> tokens;
};

Answer run_case(const Case& c, int prefill_step_size, int kv_bits = 0) {
  const Checkpoint checkpoint = open_checkpoint(c.checkpoint.string());
  const processors::Processor processor(checkpoint);
  Answer run;
  run.prompt = processor.process(read_request(c.folder));
  generate::EngineOptions options;
  options.prefill_step_size = prefill_step_size;
  options.kv_bits = kv_bits;
  options.quantized_kv_start = 0;
  options.stage_sink = [&](const std::string& name, const mx::array& value) {
    mx::array copy = mx::contiguous(value);
    mx::eval(copy);
    run.stages.insert_or_assign(name, copy);
  };
  const std::shared_ptr<const models::Model> model = models::load_model(checkpoint);
  std::atomic<bool> ended{false};
  SamplingParams params;
  params.temperature = 0;
  params.max_tokens = 16;
  {
    generate::Engine engine(model, processor.tokenizer(), options);
    engine.submit(run.prompt, params, [&](const Event& event) {
      if (const auto* delta = std::get_if<TextDelta>(&event)) {
        run.tokens.insert(run.tokens.end(), delta->token_ids.begin(), delta->token_ids.end());
      }
      if (const auto* failed = std::get_if<Failed>(&event)) ADD_FAILURE() << failed->message;
      if (event.index() >= 2) ended = true, ended.notify_all();
    });
    ended.wait(false);
  }
  return run;
}

// While it lives, products are computed so.
class UsingNumerics {
 public:
  explicit UsingNumerics(kernels::Numerics numerics) : outer_(kernels::numerics()) {
    kernels::set_numerics(numerics);
  }
  ~UsingNumerics() { kernels::set_numerics(outer_); }
  UsingNumerics(const UsingNumerics&) = delete;
  UsingNumerics& operator=(const UsingNumerics&) = delete;

 private:
  kernels::Numerics outer_;
};

// What a stage may differ by, as a share of its largest value. Weights in float32 are exact either
// way; others are rounded by the fast products.
double tolerance_of(const std::string& stage, bool low_precision, kernels::Numerics numerics) {
  if (stage == "pixel_values") return 1e-6;
  return low_precision && numerics != kernels::Numerics::kFloat32 ? 3e-2 : 1e-4;
}

// The stages that models make, in their order.
std::vector<std::string> stage_names(const Stages& expected) {
  std::vector<std::string> names = {"pixel_values", "image_grid_thw", "image_features",
                                    "inputs_embeds", "position_ids"};
  const auto has = [&](const std::string& name) {
    return expected.contains(name) || expected.contains("exact." + name);
  };
  for (int i = 0; has(fmt::format("hidden.{}", i)); ++i) {
    names.push_back(fmt::format("hidden.{}", i));
  }
  names.emplace_back("logits");
  std::erase_if(names, [&](const std::string& name) { return !has(name); });
  return names;
}

class Parity : public ::testing::TestWithParam<std::tuple<Case, kernels::Numerics>> {
 protected:
  Parity() : using_(std::get<1>(GetParam())) {}
  static const Case& given() { return std::get<0>(GetParam()); }
  static kernels::Numerics numerics() { return std::get<1>(GetParam()); }

 private:
  UsingNumerics using_;
};

TEST_P(Parity, EveryStageAndGreedyToken) {
  const Case& c = given();
  const Json manifest = Json::parse(read_file(c.folder / "manifest.json"), "manifest.json");
  const Stages expected = read_stages(c.folder);
  const Answer run = run_case(c, 2048);
  EXPECT_EQ(run.prompt.text, manifest["prompt"].as_string());
  const auto ids = floats_of(expected.at("input_ids"));
  ASSERT_EQ(std::vector<float>(run.prompt.tokens.begin(), run.prompt.tokens.end()), ids);
  const auto names = stage_names(expected);
  EXPECT_GE(names.size(), 2u);
  for (const auto& name : names) {
    ASSERT_TRUE(run.stages.contains(name)) << name;
    const bool low_precision = expected.contains("exact." + name);
    const auto want = floats_of(expected.at(low_precision ? "exact." + name : name));
    const auto got = floats_of(run.stages.at(name));
    ASSERT_EQ(got.size(), want.size()) << name;
    EXPECT_LE(worst_share(got, want), tolerance_of(name, low_precision, numerics()))
        << "first stage that differs: " << name;
    if (HasFailure()) return;
  }
  const auto greedy = floats_of(expected.at("greedy"));
  EXPECT_EQ(std::vector<float>(run.tokens.begin(), run.tokens.end()), greedy);
}

TEST_P(Parity, ChunkedPrefillGivesTheSameBits) {
  const Answer whole = run_case(given(), 2048);
  const auto logits = floats_of(whole.stages.at("logits"));
  for (const int step : {1, 3, 64}) {
    const Answer chunked = run_case(given(), step);
    const auto other = floats_of(chunked.stages.at("logits"));
    ASSERT_EQ(other.size(), logits.size());
    EXPECT_EQ(std::memcmp(other.data(), logits.data(), logits.size() * sizeof(float)), 0)
        << "prefill step " << step;
    EXPECT_EQ(chunked.tokens, whole.tokens) << "prefill step " << step;
  }
}

// Keys and values in 8 bits change no greedy token of these cases, nor does the cut of the prompt.
TEST_P(Parity, KeysInEightBitsGiveTheSameTokens) {
  const auto greedy = floats_of(read_stages(given().folder).at("greedy"));
  for (const int step : {2048, 3}) {
    const Answer run = run_case(given(), step, 8);
    EXPECT_EQ(std::vector<float>(run.tokens.begin(), run.tokens.end()), greedy) << step;
  }
}

INSTANTIATE_TEST_SUITE_P(Cases, Parity,
                         ::testing::Combine(::testing::ValuesIn(testing::parity_cases()),
                                            ::testing::Values(kernels::Numerics::kFloat32,
                                                              kernels::Numerics::kFast)),
                         [](const auto& param) {
                           const bool exact =
                               std::get<1>(param.param) == kernels::Numerics::kFloat32;
                           return std::get<0>(param.param).name + (exact ? "_exact" : "_fast");
                         });

// The same values in two layouts must load to the same numbers.
TEST(ParityLayouts, HuggingFaceAndMlxWeightsAnswerAlike) {
  const UsingNumerics exact(kernels::Numerics::kFloat32);
  const auto folder = testing::fixture_path("parity/qwen2_vl");
  Case c{"", folder / "cases/one_picture", folder / "checkpoints/hf-f32"};
  const Answer pytorch = run_case(c, 2048);
  c.checkpoint = testing::fixture_path("parity/number_types/checkpoints/mlx-bf16");
  const Answer mlx = run_case(c, 2048);
  EXPECT_EQ(floats_of(pytorch.stages.at("logits")), floats_of(mlx.stages.at("logits")));
}

}  // namespace
}  // namespace fovea

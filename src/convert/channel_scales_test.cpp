// Scales leave a model as it is, whatever they are; the search finds better ones than none.
#include "convert/channel_scales.h"
#include "convert/whole_prompts.h"

#include "base/file.h"
#include "convert/calibration.h"
#include "convert/config.h"
#include "convert/convert.h"
#include "convert/sidecars.h"
#include "convert/weight_stream.h"
#include "convert/whole_prompts.h"
#include "kernels/numerics.h"
#include "kernels/op.h"
#include "mlx/ops.h"
#include "mlx/random.h"
#include "mlx/transforms.h"
#include "models/model.h"
#include "nn/kv_cache.h"
#include "nn/safetensors.h"
#include "nn/weights.h"
#include "support/expect_error.h"
#include "support/fixtures.h"
#include "support/temporary_folder.h"

namespace fovea::convert {
namespace {

namespace fs = std::filesystem;

Checkpoint fixture(const std::string& name) {
  return open_checkpoint(testing::fixture_path("parity/" + name).string());
}

struct Opened {
  explicit Opened(const Checkpoint& checkpoint)
      : model(models::build_model(checkpoint)), weights(nn::Weights::open(checkpoint)) {
    model->prepare_weights(weights);
    weights.load_into(*model);
  }
  std::unique_ptr<models::Model> model;
  nn::Weights weights;
};

Prompt some_tokens(int count, int vocab_size) {
  Prompt prompt;
  for (int i = 0; i < count; ++i) prompt.tokens.push_back((7 * i + 3) % (vocab_size - 10));
  return prompt;
}

// [rows, V] in float32.
mx::array logits_of(const models::Model& model) {
  const Prompt prompt = some_tokens(12, model.info().vocab_size);
  const nn::Segment segment{0, 0, 12};
  const std::vector<int> wanted = {3, 11};
  WholePrompts cache;
  auto logits = model.forward({models::embed_prompt(model, prompt, 0, cache, {}),
                               model.position_ids(prompt).position_ids_AL,
                               {&segment, 1},
                               wanted},
                              cache);
  mx::eval(logits);
  return logits;
}

struct Family {
  const char* checkpoint;
  int groups_a_layer;
  int others;  // the head, unless it is the embeddings
};

// How many channels can be scaled: those of the rows that make the input, or the norm's.
int channels_of(const Plan& plan, const models::InputGroup& group) {
  if (group.rows > 0) return group.rows;
  for (const auto& weight : plan.weights) {
    if (weight.entries[0].name == group.source_path + ".weight") return weight.sources[0].shape(0);
  }
  return 0;
}

class ChannelScales : public ::testing::Test {
 protected:
  void SetUp() override { kernels::set_numerics(kernels::Numerics::kFloat32); }
  void TearDown() override { kernels::set_numerics(kernels::Numerics::kFast); }

  fs::path out() const { return folder_.path() / "out"; }

  // The checkpoint with these scales and nothing rounded.
  static Checkpoint write(const Checkpoint& source, const Plan& plan, const fs::path& out) {
    fs::create_directory(out);
    nn::ShardedWriter writer(out, plan.entries(), nn::kShardBytesMax);
    WeightStream stream([&](std::span<const std::byte> bytes) { writer.append(bytes); },
                        [](int64_t) {});
    for (const auto& weight : plan.weights) stream.write(weight);
    writer.close();
    copy_sidecars(source.folder, out, out);
    write_file_atomic(out / "config.json", source.config.dump());
    return open_checkpoint(out.string());
  }

  // qwen2_vl, the same function with a few channels of each norm 32 times as large: as large models
  // have them.
  Checkpoint uneven() const {
    const Checkpoint source = fixture("qwen2_vl/checkpoints/hf-f32");
    Opened plain(source);
    Plan plan = plan_conversion(*plain.model, plain.weights, {});
    for (const auto& group : plain.model->input_groups()) {
      if (group.source != models::InputGroup::Source::kNorm) continue;
      std::vector<float> scale(static_cast<size_t>(channels_of(plan, group)), 1.0f);
      for (size_t i = 3; i < scale.size(); i += 17) scale[i] = 1.0f / 32;
      apply_scale(plan, group, mx::array(scale.data(), {static_cast<int>(scale.size())}));
    }
    return write(source, plan, folder_.path() / "uneven");
  }

  Options four_bits(std::optional<Awq> awq) const {
    Options options;
    options.weights.dtype = mx::float32;
    options.weights.recipe = Recipe{quant_format("affine", 32, 4), {}};
    options.awq = std::move(awq);
    return options;
  }

  // How far the logits are from those of `plain`, in squares, relative to them.
  double error_of(const Checkpoint& plain, const Options& options) {
    fs::remove_all(out());
    converted_ = convert_checkpoint(plain, options, out());
    const auto expected = logits_of(*models::load_model(plain));
    const auto got = logits_of(*models::load_model(open_checkpoint(out().string())));
    const auto squares = [](const mx::array& x) { return mx::sum(mx::square(x)).item<float>(); };
    return squares(mx::subtract(expected, got)) / squares(expected);
  }

  Converted converted_;

  testing::TemporaryFolder folder_;
};

// Scales of 1/4 to 4 on every input that can take one: each family's decoder says where.
TEST_F(ChannelScales, LeaveTheModelAsItIs) {
  for (const auto& [name, groups_a_layer, others] :
       {Family{"qwen2_vl/checkpoints/hf-f32", 4, 0},          // biases, shared value heads
        Family{"llava/checkpoints/clip-llama-hf-f32", 4, 1},  //
        Family{"phi3_v/checkpoints/hf-bf16", 4, 1},           // fused projections
        Family{"gemma3/checkpoints/hf-bf16", 4, 0},           // norms around zero, and two more
        Family{"paligemma/checkpoints/hf-bf16", 4, 0},
        Family{"idefics3/checkpoints/hf-f32", 4, 1},         // no name around the layers
        Family{"qwen3_vl_moe/checkpoints/hf-f32", 2, 3}}) {  // experts, but in one layer
    SCOPED_TRACE(name);
    fs::remove_all(out());
    const Checkpoint source = fixture(name);
    Opened plain(source);
    WeightOptions exact;
    exact.dtype = mx::float32;
    Plan plan = plan_conversion(*plain.model, plain.weights, exact);
    const auto groups = plain.model->input_groups();
    EXPECT_EQ(static_cast<int>(groups.size()),
              groups_a_layer * plain.model->info().num_layers + others);
    for (size_t i = 0; i < groups.size(); ++i) {
      const int channels = channels_of(plan, groups[i]);
      ASSERT_GT(channels, 0) << groups[i].source_path;
      const auto exponent =
          mx::random::uniform(-2.0f, 2.0f, {channels}, mx::float32, mx::random::key(i));
      apply_scale(plan, groups[i], mx::power(mx::array(2.0f), exponent));
    }
    const auto expected = logits_of(*plain.model);
    const auto scaled = models::load_model(write(source, plan, out()));
    const auto got = logits_of(*scaled);
    const float largest = mx::max(mx::abs(expected)).item<float>();
    EXPECT_GT(largest, 0.1f);
    EXPECT_LT(mx::max(mx::abs(mx::subtract(expected, got))).item<float>(), 2e-5f * largest);
  }
}

TEST_F(ChannelScales, BringWhatIsRoundedNearer) {
  const Checkpoint model = uneven();
  const double plain = error_of(model, four_bits({}));
  EXPECT_FALSE(converted_.scales.has_value());
  const double scaled = error_of(model, four_bits(Awq{}));
  ASSERT_TRUE(converted_.scales.has_value());
  EXPECT_EQ(converted_.scales->groups, 8);
  EXPECT_LT(converted_.scales->error, 0.6 * converted_.scales->plain_error);
  EXPECT_LT(scaled, 0.6 * plain);
  EXPECT_LT(error_of(model, four_bits(Awq{{}, Clips::kSearched})), 0.6 * plain);
  // An ordinary checkpoint: no key, tensor or type more than plain rounding gives.
  const auto tensors = [](const fs::path& folder) {
    std::string all;
    for (const auto& [name, value] : nn::map_safetensors(folder / "model.safetensors")) {
      all +=
          fmt::format("{} {} {}\n", name, kernels::dtype_text(value), kernels::shape_text(value));
    }
    return all;
  };
  const std::string config = read_file(out() / "config.json");
  const std::string with_scales = tensors(out());
  error_of(model, four_bits({}));
  EXPECT_EQ(read_file(out() / "config.json"), config);
  EXPECT_EQ(tensors(out()), with_scales);
}

// What is gathered are the inputs themselves, whatever the passes that prompts are read in.
TEST_F(ChannelScales, ComeFromWhatTheModelComputes) {
  Opened opened(fixture("llava/checkpoints/clip-llama-hf-f32"));
  const auto groups = opened.model->input_groups();
  const int vocabulary = opened.model->info().vocab_size;
  std::vector<Prompt> prompts = {some_tokens(12, vocabulary), some_tokens(9, vocabulary)};
  int64_t steps = 0;
  const auto inputs =
      gather_activations(*opened.model, prompts, groups, [&](int64_t done, int64_t all) {
        EXPECT_EQ(done, ++steps);
        EXPECT_EQ(all, static_cast<int64_t>(groups.size()));
      });
  EXPECT_EQ(inputs.size(), groups.size());
  const auto& head = inputs.at("language_model.lm_head");
  EXPECT_EQ(head.shape(0), 21);
  // The head's inputs times the head are the logits of the first prompt.
  mx::array weight(0.0f);
  Plan plan = plan_conversion(*opened.model, opened.weights, {});
  for (const auto& planned : plan.weights) {
    if (planned.path == "language_model.lm_head.weight") weight = planned.sources[0];
  }
  const auto logits = mx::matmul(mx::astype(head, mx::float32), mx::transpose(weight));
  const auto expected = logits_of(*opened.model);
  for (const auto& [row, at] : {std::pair{3, 0}, {11, 1}}) {
    const auto ours = mx::take(logits, row, 0);
    const auto theirs = mx::take(expected, at, 0);
    const float apart = mx::max(mx::abs(mx::subtract(ours, theirs))).item<float>();
    EXPECT_LT(apart, 2e-2f * mx::max(mx::abs(theirs)).item<float>());  // kept in bfloat16
  }
}

TEST_F(ChannelScales, StopAtAnyTimeAndLeaveNothing) {
  const Checkpoint model = fixture("qwen2_vl/checkpoints/hf-f32");
  for (const Phase phase : {Phase::kCalibrating, Phase::kScaling, Phase::kWriting}) {
    bool stop = false;
    Options options = four_bits(Awq{});
    options.progress = [&](Phase at, int64_t done, int64_t all) {
      EXPECT_LE(done, all);
      stop = at == phase;
    };
    options.stopped = [&] { return stop; };
    EXPECT_ERROR(convert_checkpoint(model, options, out()), ErrorKind::kCancelled, "stopped");
    EXPECT_TRUE(fs::is_empty(folder_.path()));
  }
}

TEST_F(ChannelScales, CalibrationFilesAreTextOrLines) {
  const fs::path text = folder_.path() / "a.txt";
  write_file_atomic(text, "one\ntwo\n\n \nthree\n");
  const auto paragraphs = read_calibration(text);
  ASSERT_EQ(paragraphs.size(), 2u);
  EXPECT_EQ(paragraphs[0].text, "one\ntwo");
  EXPECT_EQ(paragraphs[1].text, "three");
  const fs::path lines = folder_.path() / "a.jsonl";
  const auto pictures = standard_calibration(true);
  write_file_atomic(folder_.path() / "p.png", pictures.back().images[0].bytes);
  write_file_atomic(lines, R"({"text": "page"})"
                           "\n\n"
                           R"({"prompt": "What?", "answer": "That.", "images": ["p.png"]})"
                           "\n");
  const auto samples = read_calibration(lines);
  ASSERT_EQ(samples.size(), 2u);
  EXPECT_EQ(samples[0].text, "page");
  EXPECT_EQ(samples[1].answer, "That.");
  ASSERT_EQ(samples[1].images.size(), 1u);
  const auto prompts = calibration_prompts(fixture("qwen2_vl/checkpoints/hf-f32"), samples, 500);
  ASSERT_EQ(prompts.size(), 2u);
  EXPECT_EQ(prompts[1].media.size(), 1u);
  const auto refused = [&](const std::string& line, const std::string& words) {
    write_file_atomic(lines, line);
    EXPECT_ERROR(read_calibration(lines), ErrorKind::kInvalidData, words);
  };
  refused(R"({"text": "a", "prompt": "b"})", "[a.jsonl line 1] expected either 'text' or 'prompt'");
  refused("{}", "but got neither");
  refused("\n{", "line 2");
  refused("\n", "has none");
  EXPECT_ERROR(calibration_prompts(fixture("qwen2_vl/checkpoints/hf-f32"), {samples[1]}, 3),
               ErrorKind::kTooLarge, "at most 3 tokens");
}

}  // namespace
}  // namespace fovea::convert

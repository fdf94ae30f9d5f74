#include "convert/convert.h"

#include "base/draft_folder.h"
#include "base/error.h"
#include "base/file.h"
#include "convert/calibration.h"
#include "convert/config.h"
#include "convert/sidecars.h"
#include "convert/weight_stream.h"
#include "nn/weights.h"

namespace fovea::convert {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kReadBytesMax = int64_t{256} << 20;  // of weights, before their pages are let go

std::string sentence_on(const Options& options, double bits_per_weight) {
  const auto& recipe = options.weights.recipe;
  if (!recipe) return "Weights in the layout of MLX.";
  const std::string mixed =
      recipe->more_bits ? fmt::format(", {} where it matters most", *recipe->more_bits) : "";
  return fmt::format("Weights of {} bits{} ({}, groups of {}{}): {:.3f} bits a weight in all.",
                     recipe->format.bits, mixed, recipe->format.mode, recipe->format.group_size,
                     options.awq ? ", activation-aware scales" : "", bits_per_weight);
}

// Tells how far a phase is, and stops when asked to.
class Step {
 public:
  explicit Step(const Options& options) : options_(options) {}

  void operator()(Phase phase, int64_t done, int64_t all) const {
    if (options_.progress) options_.progress(phase, done, all);
    if (options_.stopped && options_.stopped()) {
      fail(ErrorKind::kCancelled, "[convert] expected to go on but was stopped");
    }
  }

 private:
  const Options& options_;
};

bool takes_pictures(models::Model& model) {
  struct Media : nn::PathVisitor {
    explicit Media(const models::Model& whose) : model(whose) {}
    void parameter(const std::string& name, mx::array&) override {
      any = any || model.is_media_weight(full_name(name));
    }
    const models::Model& model;
    bool any = false;
  } media(model);
  model.visit(media);
  return media.any;
}

std::vector<Prompt> prompts_for(const Checkpoint& checkpoint, models::Model& model,
                                const Awq& awq) {
  const auto samples = awq.calibration.empty() ? standard_calibration(takes_pictures(model))
                                               : read_calibration(awq.calibration);
  return calibration_prompts(checkpoint, samples, model.info().context_length);
}

// Pages of weights that were read go back after each input of each layer.
ScaleReport scale_channels(Plan& plan, models::Model& model, const nn::Weights& weights,
                           const std::vector<Prompt>& prompts, Clips clips, const Step& step) {
  const auto groups = model.input_groups();
  const auto reporting = [&](Phase phase) {
    return [&, phase](int64_t done, int64_t all) {
      weights.release_pages();
      step(phase, done, all);
    };
  };
  const auto activations =
      gather_activations(model, prompts, groups, reporting(Phase::kCalibrating));
  return plan_scales(plan, groups, activations, clips, reporting(Phase::kScaling));
}

nn::WrittenWeights write_weights(const Plan& plan, const nn::Weights& weights,
                                 const Options& options, const Step& told, const fs::path& folder) {
  nn::ShardedWriter writer(folder, plan.entries(), options.shard_bytes_max);
  const int64_t all = plan.bytes_read();
  int64_t done = 0;
  int64_t read = 0;
  WeightStream stream([&](std::span<const std::byte> bytes) { writer.append(bytes); },
                      [&](int64_t bytes) {
                        done += bytes;
                        read += bytes;
                        told(Phase::kWriting, done, all);
                        if (read < kReadBytesMax) return;
                        weights.release_pages();
                        read = 0;
                      });
  for (const auto& weight : plan.weights) stream.write(weight);
  return writer.close();
}

}  // namespace

Converted convert_checkpoint(const Checkpoint& checkpoint, const Options& given,
                             const fs::path& out) {
  Options options = given;
  if (!options.weights.dtype) options.weights.dtype = config_dtype(checkpoint.config);
  const auto model = models::build_model(checkpoint);
  auto weights = nn::Weights::open(checkpoint, nn::Turned::kViewed);
  model->prepare_weights(weights);
  weights.load_into(*model);
  const Step step(options);
  Plan plan = plan_conversion(*model, weights, options.weights);
  Converted converted{plan.bytes_before(), plan.bytes_after(), plan.values, 0, plan.left_plain};
  if (options.awq) {
    const auto prompts = prompts_for(checkpoint, *model, *options.awq);
    converted.scales = scale_channels(plan, *model, weights, prompts, options.awq->clips, step);
  }

  DraftFolder folder(out);
  require_room("convert", folder.draft(), converted.bytes_after);
  copy_sidecars(checkpoint.folder, folder.draft(), folder.draft());
  converted.files = write_weights(plan, weights, options, step, folder.draft()).files;
  const std::string what = sentence_on(options, converted.bits_per_weight());
  write_file_atomic(folder.draft() / "README.md", model_card(checkpoint, what));
  write_file_atomic(folder.draft() / "config.json",
                    converted_config(checkpoint, options.weights, plan).dump());
  folder.publish();
  return converted;
}

}  // namespace fovea::convert

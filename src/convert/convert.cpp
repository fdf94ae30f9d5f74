#include "convert/convert.h"

#include "base/draft_folder.h"
#include "base/error.h"
#include "base/file.h"
#include "convert/config.h"
#include "convert/sidecars.h"
#include "convert/weight_stream.h"
#include "nn/weights.h"

namespace fovea::convert {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kReadBytesMax = int64_t{256} << 20;  // of weights, before their pages are let go

void require_room(const fs::path& folder, int64_t bytes) {
  std::error_code error;
  const auto space = fs::space(folder, error);
  if (error || static_cast<int64_t>(space.available) >= bytes) return;
  fail(ErrorKind::kIo, "[convert] expected {:.3g} GB of free disk but got {:.3g} GB",
       static_cast<double>(bytes) / 1e9, static_cast<double>(space.available) / 1e9);
}

std::string sentence_on(const Options& options, double bits_per_weight) {
  const auto& recipe = options.weights.recipe;
  if (!recipe) return "Weights in the layout of MLX.";
  const std::string mixed =
      recipe->more_bits ? fmt::format(", {} where it matters most", *recipe->more_bits) : "";
  return fmt::format("Weights of {} bits{} ({}, groups of {}): {:.3f} bits a weight in all.",
                     recipe->format.bits, mixed, recipe->format.mode, recipe->format.group_size,
                     bits_per_weight);
}

nn::WrittenWeights write_weights(const Plan& plan, const nn::Weights& weights,
                                 const Options& options, const fs::path& folder) {
  nn::ShardedWriter writer(folder, plan.entries(), options.shard_bytes_max);
  const int64_t all = plan.bytes_before();
  int64_t done = 0;
  int64_t read = 0;
  WeightStream stream([&](std::span<const std::byte> bytes) { writer.append(bytes); },
                      [&](int64_t bytes) {
                        done += bytes;
                        read += bytes;
                        if (options.progress) options.progress(done, all);
                        if (options.stopped && options.stopped()) {
                          fail(ErrorKind::kCancelled,
                               "[convert] expected to go on but was stopped");
                        }
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
  auto weights = nn::Weights::open(checkpoint);
  model->prepare_weights(weights);
  weights.load_into(*model);
  const Plan plan = plan_conversion(*model, weights.convolutions(), options.weights);
  Converted converted{plan.bytes_before(), plan.bytes_after(), plan.values, 0, plan.left_plain};

  DraftFolder folder(out);
  require_room(folder.draft(), converted.bytes_after);
  copy_sidecars(checkpoint.folder, folder.draft());
  converted.files = write_weights(plan, weights, options, folder.draft()).files;
  const std::string what = sentence_on(options, converted.bits_per_weight());
  write_file_atomic(folder.draft() / "README.md", model_card(checkpoint, what));
  write_file_atomic(folder.draft() / "config.json",
                    converted_config(checkpoint.config, options.weights, plan).dump());
  folder.publish();
  return converted;
}

}  // namespace fovea::convert

#include "generate/opened_model.h"

#include "base/thread_pool.h"
#include "generate/cold_start.h"
#include "generate/engine.h"
#include "kernels/isa/isa.h"
#include "kernels/memory.h"
#include "kernels/numerics.h"
#include "models/model.h"
#include "nn/weights.h"

namespace fovea::generate {
namespace {

// What the environment gets wrong is told here and not by the engine's thread.
Checkpoint opened(const std::string& model) {
  ThreadPool::instance();
  kernels::isa::table();
  kernels::numerics();
  kernels::set_allocator_cache(kAllocatorCacheBytes);
  Checkpoint checkpoint = open_checkpoint(model);
  models::require_supported(checkpoint);
  return checkpoint;
}

}  // namespace

OpenedModel::OpenedModel(const std::string& model)
    : checkpoint_(opened(model)), processor_(checkpoint_) {}

Prompt OpenedModel::prompt(const ChatRequest& request, const SamplingParams& params) const {
  Prompt made = processor_.process(request);
  check_request(made, params, checkpoint_.generation_config, models::read_text_limits(checkpoint_));
  return made;
}

std::shared_ptr<const models::Model> OpenedModel::load(const LoadOptions& options,
                                                       size_t* added_bytes) const {
  struct Loaded {
    Loaded(std::unique_ptr<models::Model> loaded, models::WeightMemory memory)
        : model(std::move(loaded)), media_weights(std::move(memory.media)) {}
    std::unique_ptr<models::Model> model;
    kernels::PassingWeights media_weights;
  };
  auto model = models::load_model(checkpoint_);
  auto memory = models::weight_memory(*model);
  if (options.with_media) read_cold(memory.media, options.progress);
  read_cold(memory.text, options.progress);
  const size_t added = models::prepare_prefill(*model, options.prefill);
  if (added_bytes) *added_bytes = added;
  auto loaded = std::make_shared<Loaded>(std::move(model), std::move(memory));
  return {loaded, loaded->model.get()};
}

MemoryEstimate OpenedModel::estimate(const Prompt& prompt, const EstimateOptions& options) const {
  const auto model = models::load_model(checkpoint_, nn::Turned::kViewed);
  return estimate_memory(*model, models::read_text_limits(checkpoint_), prompt, options);
}

}  // namespace fovea::generate

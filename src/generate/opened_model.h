// A checkpoint on its way to an Engine, in the order that tells bad input early: the machine's
// settings, the folder, the prompt, and the weights last. One thread.
#pragma once

#include <memory>
#include <string>

#include "core/checkpoint.h"
#include "core/message.h"
#include "core/prompt.h"
#include "core/sampling_params.h"
#include "generate/memory_estimate.h"
#include "models/model.h"
#include "processors/processor.h"

namespace fovea::generate {

// Weights that a disk must give are read at once, and `progress` is told.
struct LoadOptions {
  bool with_media = true;  // whether those that only media need are among them
  models::Prefill prefill = models::Prefill::kBfloat16;
  ReadProgress progress;
};

class OpenedModel {
 public:
  // `model` as open_checkpoint() takes it. Reads the JSON files and the tokenizer, no weights, and
  // sets up threads, kernels and the allocator of the process. Throws fovea::Error, for a bad
  // FOVEA_THREADS or FOVEA_ISA too.
  explicit OpenedModel(const std::string& model);

  const Checkpoint& checkpoint() const { return checkpoint_; }
  const processors::Processor& processor() const { return processor_; }

  // The prompt of a request. Throws what Processor::process() and Engine::submit() throw for it.
  Prompt prompt(const ChatRequest& request, const SamplingParams& params) const;

  // `added_bytes`, where it is not null, is told what the way of reading prompts adds in memory.
  // What is loaded is for answering: weights of media give their pages back after use, and nobody
  // may change them.
  std::shared_ptr<const models::Model> load(const LoadOptions& options = {},
                                            size_t* added_bytes = nullptr) const;

  // What load() and an answer to `prompt` would take. Maps the weights and reads none; throws as
  // load() does.
  MemoryEstimate estimate(const Prompt& prompt, const EstimateOptions& options) const;

 private:
  Checkpoint checkpoint_;
  processors::Processor processor_;
};

}  // namespace fovea::generate

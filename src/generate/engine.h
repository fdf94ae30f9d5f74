// Runs prompts through a model on a thread of its own. submit() and cancel() may be called from any
// thread; events arrive on the engine thread, in order, and every accepted request ends with
// exactly one Finished or Failed. A request that fails never takes another along.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "core/limits.h"
#include "core/prompt.h"
#include "core/sampling_params.h"
#include "generate/request.h"
#include "models/model.h"
#include "processors/tokenizer.h"

namespace fovea::generate {

struct EngineOptions {
  int prefill_step_size = kPrefillStepSize.standard;  // prompt rows in one step
  int max_kv_size = kMaxKvSize.standard;  // rows that a sequence's cache keeps; 0 is all
  // Keys and values in 8 bits, by groups of so many elements: 8, or 0 for what the weights ask for.
  // A sequence changes to them in the step that finds so many rows kept.
  int kv_bits = 0;
  int kv_group_size = 64;
  int quantized_kv_start = kQuantizedKvStart.standard;
  int requests_max = kRequestsMax;             // waiting and running
  int sequences_max = kSequencesMax.standard;  // running: computed together, step by step
  int64_t kv_cache_bytes =
      kKvCacheBytes.standard;  // of all keys and values; 0 is half of what is free
  // Rows that older requests left are looked for, and pictures that they encoded.
  bool prefix_cache = true;
  // Rows of generated tokens are not: they have other bits than a prompt's (kernels/numerics.h).
  bool recompute_generated = false;
  int64_t vision_cache_bytes = kVisionCacheBytes.standard;
  // That ends an answer beside what config.json and the tokenizer name.
  std::optional<int32_t> turn_end_id;
  Json generation_config;        // of the checkpoint, for sampling defaults; may be null
  models::StageSink stage_sink;  // for --dump: called on the engine thread; may be empty
};

// Throws what submit() throws for the prompt and the parameters of a request, whatever else runs:
// for callers that have config.json and no weights yet.
void check_request(const Prompt& prompt, const SamplingParams& params,
                   const Json& generation_config, const models::TextLimits& limits);

// What the engine is at, as of its last step.
struct EngineStatus {
  int waiting = 0;
  int running = 0;
  int64_t kv_bytes = 0;      // of keys and values that sequences hold, and of those kept for later
  int64_t kv_bytes_max = 0;  // 0: no bound
  int64_t cached_rows = 0;   // kept for later
  int64_t feature_bytes = 0;
  int64_t steps = 0;
  int64_t prompt_rows = 0;    // computed so far,
  int64_t cached_tokens = 0;  // and found
  int64_t generated_rows = 0;
  int64_t begun_anew = 0;  // requests that gave way for want of room
};

class Engine {
 public:
  Engine(std::shared_ptr<const models::Model> model,
         std::shared_ptr<const processors::Tokenizer> tokenizer, EngineOptions options);
  // Running and waiting requests end as cancelled.
  ~Engine();
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  // Throws Error(kBusy) when too many requests wait, Error(kInvalidArgument) for sampling values
  // out of range and biases of tokens that are not in the vocabulary, Error(kTooLarge) with both
  // numbers for a prompt that leaves no room in the context. max_tokens is cut to that room. No
  // event is sent when this throws. A sink that throws fails its request.
  RequestId submit(Prompt prompt, const SamplingParams& params, EventSink sink);

  // The request ends with Finished{kCancelled} within one step; unknown ids are ignored.
  void cancel(RequestId id);

  // Any thread.
  EngineStatus status() const;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace fovea::generate

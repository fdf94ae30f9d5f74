// What an answer will take of this machine's memory, from a model whose weights are mapped and not
// read. One thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>

#include "core/prompt.h"
#include "models/model.h"

namespace fovea::generate {

// Freed blocks that MLX keeps, in a process that answers.
inline constexpr size_t kAllocatorCacheBytes = size_t{1} << 30;

struct MemoryEstimate {
  int64_t process = 0;  // program, tokenizer, pixels: what this process holds already, and a little
  int64_t weights = 0;  // of the decoder: those of towers give their memory back as they are used
  int64_t cache = 0;    // keys and values of prompt and answer, with the room that they grow in,
                        // and of what layers look at in pictures
  int64_t vision = 0;   // while the largest picture is encoded
  int64_t prompt = 0;   // while a chunk of the prompt is processed

  // A picture is encoded before the decoder's weights and the cache are touched.
  int64_t total() const;
};

struct EstimateOptions {
  int max_tokens = 0;  // of the answer
  int prefill_step_size = 0;
  // As EngineOptions has them.
  int max_kv_size = 0;
  int kv_bits = 0;
  int kv_group_size = 64;
  int quantized_kv_start = 0;
};

MemoryEstimate estimate_memory(models::Model& model, const models::TextLimits& limits,
                               const Prompt& prompt, const EstimateOptions& options);

// What the system could give to new programs now, within the limit of this process's control group;
// nothing where it does not say.
std::optional<int64_t> available_memory();

}  // namespace fovea::generate

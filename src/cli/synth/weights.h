// Random weights for a checkpoint folder: names and shapes from the model's own `visit`, values
// such that activations stay of order one. Written in a stream; a tensor's bits depend on the seed
// and its name alone.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "kernels/matmul.h"
#include "models/model.h"
#include "nn/sharded_writer.h"

namespace fovea::cli {

struct SynthOptions {
  std::optional<kernels::Quantization> affine;  // absent: plain weights
  std::string dtype = "bfloat16";               // bfloat16, float16 or float32
  uint64_t seed = 0;
};

// How a tensor is filled.
struct PlannedTensor {
  enum class Fill { kWords, kScales, kBiases, kNorm, kSpread };
  nn::TensorEntry entry;
  Fill fill = Fill::kSpread;
  float deviation = 0;  // kSpread and kNorm: of the values; kScales and kBiases: of the weight
  std::string stream;   // tensors with one name here draw the same random numbers
};

// What mlx-vlm's converter writes for this model: linears and embeddings outside the towers are
// quantised where their rows are whole groups, convolutions have their channels last.
std::vector<PlannedTensor> plan_weights(models::Model& model, const Json& config,
                                        const SynthOptions& options);

// Throws Error(kIo).
nn::WrittenWeights write_weights(const std::filesystem::path& folder,
                                 const std::vector<PlannedTensor>& plan,
                                 const SynthOptions& options,
                                 int64_t shard_bytes_max = nn::kShardBytesMax);

}  // namespace fovea::cli

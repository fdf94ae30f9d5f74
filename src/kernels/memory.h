// MLX's allocator, set up once before the first array, and memory that is given back on the way.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "mlx/array.h"

namespace fovea::kernels {

// MLX keeps only 32 MB of freed blocks by default, and the first touch of a fresh page costs ten
// times a read: let it keep this many bytes.
void set_allocator_cache(size_t bytes);

// Frees what MLX keeps, if that is much: between two stages that need blocks of other sizes.
void trim_allocator_cache();

// The most bytes that live arrays have held at once since the process began; mapped weights are not
// counted.
size_t peak_array_bytes();

// Mapped weights that are read once for each picture or prompt: while this lives, an op that has
// read some gives their pages back, so that a tower does not stay in memory beside the decoder. The
// system keeps the file in its cache. Nobody may write to them. Any thread.
class PassingWeights {
 public:
  explicit PassingWeights(std::vector<std::span<const std::byte>> weights);
  ~PassingWeights();
  PassingWeights(const PassingWeights&) = delete;
  PassingWeights& operator=(const PassingWeights&) = delete;

 private:
  std::vector<std::span<const std::byte>> weights_;
};

// What ops call after they have run.
void give_back_passing(const std::vector<mlx::core::array>& inputs);

}  // namespace fovea::kernels

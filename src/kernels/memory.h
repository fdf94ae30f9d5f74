// MLX's allocator, set up once before the first array.
#pragma once

#include <cstddef>

namespace fovea::kernels {

// MLX keeps only 32 MB of freed blocks by default, and the first touch of a fresh page costs ten
// times a read: let it keep this many bytes.
void set_allocator_cache(size_t bytes);

// The most bytes that live arrays have held at once since the process began; mapped weights are not
// counted.
size_t peak_array_bytes();

}  // namespace fovea::kernels

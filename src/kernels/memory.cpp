#include "kernels/memory.h"

#include "mlx/memory.h"

namespace fovea::kernels {

void set_allocator_cache(size_t bytes) { mlx::core::set_cache_limit(bytes); }

size_t peak_array_bytes() { return mlx::core::get_peak_memory(); }

}  // namespace fovea::kernels

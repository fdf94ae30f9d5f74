// How vision towers lay pictures out as rows of patches. Engine thread only.
//
// Legend: B pictures, C channels.
#pragma once

#include "core/host_tensor.h"
#include "mlx/array.h"

namespace fovea::models::vision {

namespace mx = mlx::core;

// [B, C, size, size] -> [B * side^2, C * patch^2] with side = size / patch, in the order of a
// convolution's weight; what is over at the right and below is dropped.
mx::array unfold_patches(const HostTensor& pixels, int size, int patch);

// [B, rows, columns, C] -> [B, rows / m, columns / m, m * m * C]: m x m neighbours side by side,
// row by row; what is over is dropped.
mx::array merge_neighbours(const mx::array& grid, int m);

}  // namespace fovea::models::vision

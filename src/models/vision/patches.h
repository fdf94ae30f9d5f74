// How vision towers lay pictures out as rows of patches. Engine thread only.
//
// Legend: B pictures, C channels.
#pragma once

#include <functional>
#include <vector>

#include "core/host_tensor.h"
#include "mlx/array.h"

namespace fovea::models::vision {

namespace mx = mlx::core;

// [B, C, size, size] -> [B * side^2, C * patch^2] with side = size / patch, in the order of a
// convolution's weight; what is over at the right and below is dropped.
mx::array unfold_patches(const HostTensor& pixels, int size, int patch);

// How many of many pictures with so many rows each a tower takes at a time.
int pictures_in_pass(int rows_per_picture);

// What `pass` gives for pixels [B, ...], rows of each picture one behind the other. Many pictures
// go through it some at a time, so that what stands between its ops is small and near; a picture's
// bits do not depend on it.
std::vector<mx::array> in_passes(
    const HostTensor& pixels, int rows_per_picture,
    const std::function<std::vector<mx::array>(const HostTensor& pixels)>& pass);

// [B, rows, columns, C] -> [B, rows / m, columns / m, m * m * C]: m x m neighbours side by side,
// row by row; what is over is dropped.
mx::array merge_neighbours(const mx::array& grid, int m);

}  // namespace fovea::models::vision

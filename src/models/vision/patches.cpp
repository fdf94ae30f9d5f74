#include "models/vision/patches.h"

#include "mlx/ops.h"

namespace fovea::models::vision {

mx::array unfold_patches(const HostTensor& pixels, int size, int patch) {
  const int b = pixels.shape[0];
  const int channels = pixels.shape[1];
  const int side = size / patch;
  const mx::array image(pixels.data.data(), {b, channels, size, size}, mx::float32);
  const auto used = mx::slice(image, {0, 0, 0, 0}, {b, channels, side * patch, side * patch});
  const auto blocks = mx::reshape(used, {b, channels, side, patch, side, patch});
  return mx::reshape(mx::transpose(blocks, {0, 2, 4, 1, 3, 5}),
                     {b * side * side, channels * patch * patch});
}

mx::array merge_neighbours(const mx::array& grid, int m) {
  const int b = grid.shape(0);
  const int rows = grid.shape(1) / m;
  const int columns = grid.shape(2) / m;
  const int c = grid.shape(3);
  const auto even = mx::slice(grid, {0, 0, 0, 0}, {b, rows * m, columns * m, c});
  const auto blocks = mx::reshape(even, {b, rows, m, columns, m, c});
  return mx::reshape(mx::transpose(blocks, {0, 1, 3, 2, 4, 5}), {b, rows, columns, m * m * c});
}

}  // namespace fovea::models::vision

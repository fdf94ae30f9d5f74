#include "models/vision/patches.h"

#include <algorithm>

#include "mlx/ops.h"
#include "mlx/transforms.h"

namespace fovea::models::vision {
namespace {

// Enough for weights to be read seldom: measured with SigLIP-B 512, two tiles.
constexpr int kPassRows = 2048;

}  // namespace

int pictures_in_pass(int rows_per_picture) {
  return std::max(1, kPassRows / std::max(1, rows_per_picture));
}

std::vector<mx::array> in_passes(
    const HostTensor& pixels, int rows_per_picture,
    const std::function<std::vector<mx::array>(const HostTensor& pixels)>& pass) {
  const int count = pixels.shape[0];
  const int together = pictures_in_pass(rows_per_picture);
  if (count <= together) return pass(pixels);
  const size_t values = pixels.data.size() / static_cast<size_t>(count);
  std::vector<std::vector<mx::array>> parts;  // by result
  for (int begin = 0; begin < count; begin += together) {
    const int end = std::min(begin + together, count);
    HostTensor some{pixels.shape, {}};
    some.shape[0] = end - begin;
    const auto first = pixels.data.begin() + static_cast<int64_t>(begin * values);
    some.data.assign(first, first + static_cast<int64_t>((end - begin) * values));
    auto results = pass(some);
    mx::eval(results);  // before the next pass takes memory
    parts.resize(results.size());
    for (size_t i = 0; i < results.size(); ++i) parts[i].push_back(std::move(results[i]));
  }
  std::vector<mx::array> all;
  for (const auto& part : parts) all.push_back(mx::concatenate(part, 0));
  return all;
}

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

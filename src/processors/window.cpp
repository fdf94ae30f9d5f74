#include "processors/window.h"

#include <algorithm>

namespace fovea::processors {

Image window(const Image& image, int left, int top, Size size, const std::array<uint8_t, 3>& fill) {
  Image out;
  out.size = size;
  out.rgb.resize(size_t{3} * static_cast<size_t>(size.width) * static_cast<size_t>(size.height));
  for (size_t i = 0; i < out.rgb.size(); ++i) out.rgb[i] = fill[i % 3];
  const int first = std::max(0, -left);
  const int last = std::min(size.width, image.size.width - left);
  for (int y = std::max(0, -top); y < std::min(size.height, image.size.height - top); ++y) {
    if (last <= first) break;
    const uint8_t* row =
        image.rgb.data() + (int64_t{y + top} * image.size.width + left + first) * 3;
    std::copy(row, row + int64_t{3} * (last - first),
              out.rgb.data() + (int64_t{y} * size.width + first) * 3);
  }
  return out;
}

}  // namespace fovea::processors

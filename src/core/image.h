// A decoded picture: 8-bit RGB, row-major, upright (EXIF orientation applied), no alpha.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/page_vector.h"

namespace fovea {

struct Size {
  int width = 0;   // pixels
  int height = 0;  // pixels
  int64_t area() const { return int64_t{width} * height; }
  bool operator==(const Size&) const = default;
};

struct Image {
  Size size;
  PageVector<uint8_t> rgb;  // size.height * size.width * 3
};

}  // namespace fovea

// Resizing equal to Pillow's, bit for bit: separable filters with support scaled for shrinking, two
// 8-bit passes in 22-bit fixed point, horizontal first, except for very tall pictures. Any thread
// may call.
#pragma once

#include "core/image.h"

namespace fovea::processors {

// Numbers are Pillow's, which preprocessor_config.json uses for `resample`.
enum class Filter {
  kNearest = 0,
  kLanczos = 1,
  kBilinear = 2,
  kBicubic = 3,
  kBox = 4,
  kHamming = 5
};

// Throws Error(kInvalidData) naming the value when it is no filter.
Filter filter_from_number(int number);

// The largest size inside `box` with the picture's shape, a pixel at least; small pictures grow.
// Fractions of a pixel are dropped.
Size fitted(Size picture, Size box);

// `size` has sides of at least 1.
Image resize(const Image& image, Size size, Filter filter);

}  // namespace fovea::processors

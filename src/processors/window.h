// Cutting out of a picture, and padding it. Any thread may call.
#pragma once

#include <array>
#include <cstdint>

#include "core/image.h"

namespace fovea::processors {

// The rectangle of `size` whose corner stands at (left, top), which may be negative; what lies
// outside the picture is `fill`.
Image window(const Image& image, int left, int top, Size size,
             const std::array<uint8_t, 3>& fill = {0, 0, 0});

}  // namespace fovea::processors

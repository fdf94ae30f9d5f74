// What a picture may be, checked before its pixels are decoded.
#pragma once

#include <cstddef>
#include <cstdint>

namespace fovea::processors {

inline constexpr size_t kPictureBytesMax = size_t{64} << 20;  // encoded
inline constexpr int64_t kPicturePixelsMax = int64_t{64} << 20;
inline constexpr int kPictureSideMax = 65535;

}  // namespace fovea::processors

// What a picture may be, checked before its pixels are decoded.
#pragma once

#include <cstddef>
#include <cstdint>

namespace fovea::processors {

inline constexpr size_t kPictureBytesMax = size_t{64} << 20;  // encoded
inline constexpr int64_t kPicturePixelsMax = int64_t{64} << 20;
inline constexpr int kPictureSideMax = 65535;
inline constexpr int kPictureAspectMax = 200;  // longer side to shorter, where a family asks
inline constexpr int kJpegScansMax = 100;      // tiny scans over a large picture cost seconds each

}  // namespace fovea::processors

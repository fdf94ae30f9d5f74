// How a checkpoint's weight was quantised: groups of a row's values share a scale.
#pragma once

namespace fovea::kernels {

struct Quantization {
  int group_size = 64;  // 32, 64 or 128
  int bits = 4;         // 2, 3, 4, 5, 6 or 8

  bool operator==(const Quantization&) const = default;
  bool is_supported() const {
    return (bits == 2 || bits == 3 || bits == 4 || bits == 5 || bits == 6 || bits == 8) &&
           (group_size == 32 || group_size == 64 || group_size == 128);
  }
};

}  // namespace fovea::kernels

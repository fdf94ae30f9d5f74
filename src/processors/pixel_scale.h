// From 8-bit values to what a tower takes: rescale and normalise, as image processors' configs say.
#pragma once

#include <array>
#include <vector>

#include "base/json.h"
#include "core/image.h"

namespace fovea::processors {

// (value * rescale_factor - image_mean) / image_std, each step only where its do_ flag is on.
class PixelScale {
 public:
  // Throws Error(kInvalidData) for numbers that give infinite pixels.
  PixelScale(const Json& config, const std::array<float, 3>& default_mean,
             const std::array<float, 3>& default_std);
  // One channel of `count` neighbouring pixels.
  void scale(int channel, const uint8_t* rgb, int count, float* to) const {
    const auto& table = table_[static_cast<size_t>(channel)];
    rgb += channel;
    for (int i = 0; i < count; ++i) to[i] = table[rgb[3 * i]];
  }

 private:
  std::array<std::array<float, 256>, 3> table_;
};

// The rectangle of `size` at (left, top), channel after channel.
void append_planes(const Image& image, int left, int top, Size size, const PixelScale& scale,
                   std::vector<float>& to);

inline constexpr std::array<float, 3> kClipMean = {0.48145466f, 0.4578275f, 0.40821073f};
inline constexpr std::array<float, 3> kClipStd = {0.26862954f, 0.26130258f, 0.27577711f};
inline constexpr std::array<float, 3> kHalf = {0.5f, 0.5f, 0.5f};

}  // namespace fovea::processors

#include "processors/pixel_scale.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"

namespace fovea::processors {
namespace {

std::array<float, 3> three(const Json& config, const char* key,
                           const std::array<float, 3>& fallback) {
  if (config[key].is_null()) return fallback;
  const auto list = config[key].as_float_list();
  if (list.size() != 3) {
    fail(ErrorKind::kInvalidData, "[{}] expected three numbers at '{}' but got {}", config.where(),
         key, list.size());
  }
  return {list[0], list[1], list[2]};
}

}  // namespace

PixelScale::PixelScale(const Json& config, const std::array<float, 3>& default_mean,
                       const std::array<float, 3>& default_std) {
  const auto mean = three(config, "image_mean", default_mean);
  const auto std = three(config, "image_std", default_std);
  const bool rescale = config.get_bool("do_rescale", true);
  const bool normalize = config.get_bool("do_normalize", true);
  const auto factor = static_cast<float>(config.get_double("rescale_factor", 1.0 / 255));
  for (size_t channel = 0; channel < 3; ++channel) {
    for (size_t value = 0; value < 256; ++value) {
      auto x = static_cast<float>(value);
      if (rescale) x *= factor;
      if (normalize) x = (x - mean[channel]) / std[channel];
      table_[channel][value] = x;
    }
    const auto& values = table_[channel];
    if (!std::all_of(values.begin(), values.end(), [](float x) { return std::isfinite(x); })) {
      fail(ErrorKind::kInvalidData,
           "[{}] expected rescale_factor, image_mean and image_std that give finite pixels but got "
           "{}, {} and {}",
           config.where(), config["rescale_factor"].dump(), config["image_mean"].dump(),
           config["image_std"].dump());
    }
  }
}

void append_planes(const Image& image, int left, int top, Size size, const PixelScale& scale,
                   std::vector<float>& to) {
  const size_t begin = to.size();
  to.resize(begin + size_t{3} * static_cast<size_t>(size.width) * static_cast<size_t>(size.height));
  float* plane = to.data() + begin;
  for (int channel = 0; channel < 3; ++channel) {
    for (int y = top; y < top + size.height; ++y, plane += size.width) {
      const uint8_t* row = image.rgb.data() + (int64_t{y} * image.size.width + left) * 3;
      scale.scale(channel, row, size.width, plane);
    }
  }
}

}  // namespace fovea::processors

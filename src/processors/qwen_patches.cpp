#include "processors/qwen_patches.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "core/limits.h"

namespace fovea::processors {
namespace {

// To the nearest multiple, ties to the even one, as Python rounds.
int64_t nearest_multiple(double value, int factor) {
  return static_cast<int64_t>(std::nearbyint(value / factor)) * factor;
}

}  // namespace

QwenPatches::QwenPatches(const Json& config, int patch_size, PixelBudget budget)
    : patch_(config.get_int("patch_size", patch_size)),
      temporal_(config.get_int("temporal_patch_size", 2)),
      merge_(config.get_int("merge_size", 2)),
      budget_(budget),
      resize_(config.get_bool("do_resize", true)),
      filter_(filter_from_number(config.get_int("resample", 3))),
      scale_(config, kClipMean, kClipStd) {
  const Json size = config["size"].is_null() ? Json() : config["size"].as_object();
  const auto read = [&](const char* edge, const char* pixels, int64_t& value) {
    value = size.get_int(edge, static_cast<int>(value));
    value = config.get_int(pixels, static_cast<int>(value));
  };
  read("shortest_edge", "min_pixels", budget_.min);
  read("longest_edge", "max_pixels", budget_.max);
  const auto odd = [](int64_t value, int64_t most) { return value < 1 || value > most; };
  if (odd(patch_, kProcessorPatchMax) || odd(temporal_, kProcessorTemporalPatchMax) ||
      odd(merge_, kProcessorMergeMax)) {
    fail(ErrorKind::kInvalidData,
         "[{}] expected patch_size up to {}, temporal_patch_size up to {}, merge_size up to {} "
         "but got {}, {}, {}",
         config.where(), kProcessorPatchMax, kProcessorTemporalPatchMax, kProcessorMergeMax, patch_,
         temporal_, merge_);
  }
  if (odd(budget_.min, std::min(budget_.max, kPicturePixelsMax))) {
    fail(ErrorKind::kInvalidData,
         "[{}] expected min_pixels from 1 to max_pixels and to {} but got {} and {}",
         config.where(), kPicturePixelsMax, budget_.min, budget_.max);
  }
}

Size QwenPatches::target_size(Size size, const PixelBudget& budget, int frames, int padded,
                              const std::string& name) const {
  const double w = size.width;
  const double h = size.height;
  if (std::max(w, h) / std::min(w, h) > kPictureAspectMax) {
    fail(ErrorKind::kInvalidData,
         "[picture] expected sides within 1:{} of each other in '{}' but got {}x{}",
         kPictureAspectMax, name, size.width, size.height);
  }
  int64_t height = nearest_multiple(h, factor());  // 0 for a sliver, which then is too small
  int64_t width = nearest_multiple(w, factor());
  if (padded * height * width > budget.max) {
    const double beta = std::sqrt(frames * h * w / static_cast<double>(budget.max));
    const auto shrunk = [&](double side) {
      return std::max<int64_t>(factor(), int64_t(std::floor(side / beta / factor())) * factor());
    };
    height = shrunk(h);
    width = shrunk(w);
  } else if (padded * height * width < budget.min) {
    const double beta = std::sqrt(static_cast<double>(budget.min) / (frames * h * w));
    height = int64_t(std::ceil(h * beta / factor())) * factor();
    width = int64_t(std::ceil(w * beta / factor())) * factor();
  }
  return {static_cast<int>(width), static_cast<int>(height)};
}

Image QwenPatches::resized(const Image& image, Size target, const std::string& name) const {
  Image used = resize_ ? resize(image, target, filter_) : image;
  if (used.size.width % factor() != 0 || used.size.height % factor() != 0) {
    fail(ErrorKind::kInvalidData,
         "[picture] expected sides in multiples of {} in '{}' but got {}x{}", factor(), name,
         image.size.width, image.size.height);
  }
  return used;
}

size_t QwenPatches::group_values(Size size) const {
  return static_cast<size_t>(size.width) * static_cast<size_t>(size.height) * 3 *
         static_cast<size_t>(temporal_);
}

void QwenPatches::put(const Image& frame, int plane, int planes, float* group) const {
  const int rows = frame.size.height / patch_;
  const int columns = frame.size.width / patch_;
  const std::ptrdiff_t values = std::ptrdiff_t{temporal_} * patch_ * patch_;
  for (int block = 0; block < rows * columns / (merge_ * merge_); ++block) {
    for (int inside = 0; inside < merge_ * merge_; ++inside) {
      const int row = block / (columns / merge_) * merge_ + inside / merge_;
      const int column = block % (columns / merge_) * merge_ + inside % merge_;
      for (int channel = 0; channel < 3; ++channel, group += values)
        put_patch(frame, row, column, channel, plane, planes, group);
    }
  }
}

void QwenPatches::put_patch(const Image& image, int row, int column, int channel, int plane,
                            int planes, float* patch) const {
  const std::ptrdiff_t size = std::ptrdiff_t{patch_} * patch_;
  float* const first = patch + plane * size;
  float* to = first;
  for (int y = row * patch_; y < (row + 1) * patch_; ++y, to += patch_) {
    const int64_t pixel = int64_t{y} * image.size.width + int64_t{column} * patch_;
    scale_.scale(channel, image.rgb.data() + pixel * 3, patch_, to);
  }
  for (int i = 1; i < planes; ++i, to += size) std::copy_n(first, size, to);
}

}  // namespace fovea::processors

// Qwen2VLImageProcessor: the picture keeps its shape, its sides become multiples of patch * merge
// within a pixel budget, and patches are laid out so that merge x merge neighbours stand together.
// Source: Hugging Face image_processing_qwen2_vl. `pixels` is
// [h * w, channels * temporal_patch_size * patch_size^2].
#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "core/limits.h"
#include "processors/image_processors.h"
#include "processors/pixel_scale.h"
#include "processors/resample.h"

namespace fovea::processors {
namespace {

// To the nearest multiple, ties to the even one, as Python rounds.
int64_t nearest_multiple(double value, int factor) {
  return static_cast<int64_t>(std::nearbyint(value / factor)) * factor;
}

class Qwen2VlImageProcessor : public ImageProcessor {
 public:
  explicit Qwen2VlImageProcessor(const Json& config)
      : patch_(config.get_int("patch_size", 14)),
        temporal_(config.get_int("temporal_patch_size", 2)),
        merge_(config.get_int("merge_size", 2)),
        min_pixels_(56 * 56),
        max_pixels_(28 * 28 * 1280),
        resize_(config.get_bool("do_resize", true)),
        filter_(filter_from_number(config.get_int("resample", 3))),
        scale_(config, kClipMean, kClipStd) {
    const Json size = config["size"].is_null() ? Json() : config["size"].as_object();
    min_pixels_ = size.get_int("shortest_edge", min_pixels_);
    max_pixels_ = size.get_int("longest_edge", max_pixels_);
    min_pixels_ = config.get_int("min_pixels", min_pixels_);
    max_pixels_ = config.get_int("max_pixels", max_pixels_);
    const auto odd = [](int value, int most) { return value < 1 || value > most; };
    if (odd(patch_, kProcessorPatchMax) || odd(temporal_, kProcessorTemporalPatchMax) ||
        odd(merge_, kProcessorMergeMax)) {
      fail(ErrorKind::kInvalidData,
           "[{}] expected patch_size up to {}, temporal_patch_size up to {}, merge_size up to {} "
           "but got {}, {}, {}",
           config.where(), kProcessorPatchMax, kProcessorTemporalPatchMax, kProcessorMergeMax,
           patch_, temporal_, merge_);
    }
    if (odd(min_pixels_, std::min<int64_t>(max_pixels_, kPicturePixelsMax))) {
      fail(ErrorKind::kInvalidData,
           "[{}] expected min_pixels from 1 to max_pixels and to {} but got {} and {}",
           config.where(), kPicturePixelsMax, min_pixels_, max_pixels_);
    }
  }

  ProcessedImage process(const Image& image, const std::string& name) const override {
    ProcessedImage out;
    const Image used = resize_ ? resize(image, target_size(image.size, name), filter_) : image;
    out.used = used.size;
    const int factor = patch_ * merge_;
    if (used.size.width % factor != 0 || used.size.height % factor != 0) {
      fail(ErrorKind::kInvalidData,
           "[picture] expected sides in multiples of {} in '{}' but got {}x{}", factor, name,
           image.size.width, image.size.height);
    }
    const int rows = out.used.height / patch_;
    const int columns = out.used.width / patch_;
    out.grid_thw = {1, rows, columns};
    out.tokens = rows * columns / (merge_ * merge_);
    out.pixels = patches(used, rows, columns);
    return out;
  }

 private:
  Size target_size(Size size, const std::string& name) const {
    const double w = size.width;
    const double h = size.height;
    if (std::max(w, h) / std::min(w, h) > kPictureAspectMax) {
      fail(ErrorKind::kInvalidData,
           "[picture] expected sides within 1:{} of each other in '{}' but got {}x{}",
           kPictureAspectMax, name, size.width, size.height);
    }
    const int factor = patch_ * merge_;
    int64_t height = nearest_multiple(h, factor);  // 0 for a sliver, which then is too small
    int64_t width = nearest_multiple(w, factor);
    if (height * width > max_pixels_) {
      const double beta = std::sqrt(h * w / max_pixels_);
      height = std::max<int64_t>(factor, int64_t(std::floor(h / beta / factor)) * factor);
      width = std::max<int64_t>(factor, int64_t(std::floor(w / beta / factor)) * factor);
    } else if (height * width < min_pixels_) {
      const double beta = std::sqrt(min_pixels_ / (h * w));
      height = int64_t(std::ceil(h * beta / factor)) * factor;
      width = int64_t(std::ceil(w * beta / factor)) * factor;
    }
    return {static_cast<int>(width), static_cast<int>(height)};
  }

  HostTensor patches(const Image& image, int rows, int columns) const {
    HostTensor out;
    out.shape = {rows * columns, 3 * temporal_ * patch_ * patch_};
    out.data.resize(static_cast<size_t>(out.shape[0]) * static_cast<size_t>(out.shape[1]));
    float* to = out.data.data();
    for (int block = 0; block < rows * columns / (merge_ * merge_); ++block) {
      for (int inside = 0; inside < merge_ * merge_; ++inside) {
        const int row = block / (columns / merge_) * merge_ + inside / merge_;
        const int column = block % (columns / merge_) * merge_ + inside % merge_;
        for (int channel = 0; channel < 3; ++channel)
          to = put_patch(image, row, column, channel, to);
      }
    }
    return out;
  }

  // A still picture fills every temporal plane. Returns what lies behind them.
  float* put_patch(const Image& image, int row, int column, int channel, float* to) const {
    float* const first = to;
    for (int y = row * patch_; y < (row + 1) * patch_; ++y, to += patch_) {
      const int64_t pixel = int64_t{y} * image.size.width + int64_t{column} * patch_;
      scale_.scale(channel, image.rgb.data() + pixel * 3, patch_, to);
    }
    const int64_t plane = to - first;
    for (int i = 1; i < temporal_; ++i, to += plane) std::copy_n(first, plane, to);
    return to;
  }

  int patch_;
  int temporal_;
  int merge_;
  int min_pixels_;
  int max_pixels_;
  bool resize_;
  Filter filter_;
  PixelScale scale_;
};

}  // namespace

std::unique_ptr<ImageProcessor> make_qwen2_vl_image_processor(const Json& config,
                                                              const Checkpoint&) {
  return std::make_unique<Qwen2VlImageProcessor>(config);
}

}  // namespace fovea::processors

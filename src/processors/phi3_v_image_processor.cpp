// Phi3VImageProcessor: the picture as large as num_crops tiles allow, padded with white to whole
// tiles, and a small view of that. A portrait is handled lying on its side. Source: Microsoft's
// processing_phi3_v of the Phi-3.5-Vision checkpoint; mlx-vlm stretches instead of padding.
// `pixels` is [1 + tiles, channels, H, W], the view first.
#include <algorithm>
#include <array>
#include <cmath>

#include "base/error.h"
#include "core/limits.h"
#include "processors/image_processors.h"
#include "processors/pixel_scale.h"
#include "processors/resample.h"
#include "processors/window.h"

namespace fovea::processors {
namespace {

constexpr int kCropsMax = 64;

Image transposed(const Image& image) {
  Image out{{image.size.height, image.size.width}, {}};
  out.rgb.reserve(image.rgb.size());
  for (int y = 0; y < out.size.height; ++y) {
    for (int x = 0; x < out.size.width; ++x) {
      const uint8_t* from = image.rgb.data() + (int64_t{x} * image.size.width + y) * 3;
      out.rgb.insert(out.rgb.end(), from, from + 3);
    }
  }
  return out;
}

// Four neighbours of a point and their weights.
struct Taps {
  std::array<int, 4> at;
  std::array<float, 4> weight;
};

// Cubic convolution with a = -0.75 at the centres of `to` equal parts of `from` samples, whose ends
// are repeated; shrinking does not smooth. Source: PyTorch's interpolate(mode="bicubic").
std::vector<Taps> cubic_taps(int from, int to) {
  constexpr float a = -0.75f;
  const auto near = [](float x) { return ((a + 2) * x - (a + 3)) * x * x + 1; };
  const auto far = [](float x) { return ((a * x - 5 * a) * x + 8 * a) * x - 4 * a; };
  const float scale = static_cast<float>(from) / static_cast<float>(to);
  std::vector<Taps> taps;
  for (int i = 0; i < to; ++i) {
    const float point = scale * (static_cast<float>(i) + 0.5f) - 0.5f;
    const float below = std::floor(point);
    const float t = point - below;
    Taps tap{{}, {far(t + 1), near(t), near(1 - t), far(2 - t)}};
    for (int k = 0; k < 4; ++k) {
      tap.at[static_cast<size_t>(k)] = std::clamp(static_cast<int>(below) - 1 + k, 0, from - 1);
    }
    taps.push_back(tap);
  }
  return taps;
}

// The sum of four rows' neighbours of a point.
float weighed(const std::array<std::vector<float>, 4>& rows, const Taps& x, const Taps& y) {
  float sum = 0;
  for (size_t j = 0; j < 4; ++j) {
    float row = 0;
    for (size_t i = 0; i < 4; ++i) row += x.weight[i] * rows[j][static_cast<size_t>(x.at[i])];
    sum += y.weight[j] * row;
  }
  return sum;
}

class Phi3VImageProcessor : public ImageProcessor {
 public:
  Phi3VImageProcessor(const Json& config, const Checkpoint& checkpoint)
      : crops_(config.get_int("num_crops", 1)), scale_(config, kClipMean, kClipStd) {
    const Json vision = checkpoint.config["vision_config"];
    tile_ = vision.get_int("image_size", 336);
    const int patch = vision.get_int("patch_size", 14);
    if (crops_ < 1 || crops_ > kCropsMax || tile_ > kProcessorSideMax || patch < 1 ||
        tile_ < 2 * patch || tile_ % (2 * patch) != 0) {
      fail(
          ErrorKind::kInvalidData,
          "[{}] expected num_crops from 1 to {} and tiles of whole 2 x 2 patches but got {}, tiles "
          "of {} and patches of {}",
          config.where(), kCropsMax, crops_, tile_, patch);
    }
    side_ = tile_ / (2 * patch);
    if (config.get_int("num_img_tokens", side_ * side_) != side_ * side_) {
      fail(ErrorKind::kInvalidData, "[{}] expected {} at 'num_img_tokens' but got {}",
           config.where(), side_ * side_, config["num_img_tokens"].dump());
    }
  }

  ProcessedImage process(const Image& image, const std::string& name) const override {
    const bool portrait = image.size.width < image.size.height;
    const Size size =
        enlarged_size(portrait ? Size{image.size.height, image.size.width} : image.size);
    if (size.height < 1) {
      fail(ErrorKind::kInvalidData,
           "[picture] expected a picture less narrow than '{}' but got {}x{}", name,
           image.size.width, image.size.height);
    }
    const Size lying = {size.width, (size.height + tile_ - 1) / tile_ * tile_};
    const Size whole = portrait ? Size{lying.height, lying.width} : lying;
    ProcessedImage out;
    out.used = whole;
    out.tiles = {whole.height / tile_, whole.width / tile_};
    const auto [rows, columns] = out.tiles;
    const int64_t tokens = int64_t{rows * columns + 1} * side_ * side_ + 1 + (rows + 1) * side_;
    require_takeable(
        {.pixels = whole.area() + Size{tile_, tile_}.area(), .tokens = tokens, .markup_bytes = 0},
        name);
    out.tokens = static_cast<int>(tokens);
    const Image canvas = portrait ? transposed(on_canvas(transposed(image), size, lying))
                                  : on_canvas(image, size, lying);
    out.pixels.shape = {1 + rows * columns, 3, tile_, tile_};
    append_view(canvas, out.pixels.data);
    for (int y = 0; y < canvas.size.height; y += tile_) {
      for (int x = 0; x < canvas.size.width; x += tile_) {
        append_planes(canvas, x, y, {tile_, tile_}, scale_, out.pixels.data);
      }
    }
    return out;
  }

 private:
  // As many tiles wide as fit beside the rows that this takes. A very narrow picture would have no
  // height.
  Size enlarged_size(Size picture) const {
    const double ratio = picture.width / static_cast<double>(picture.height);
    int columns = 1;
    while ((columns + 1) * std::ceil((columns + 1) / ratio) <= crops_) ++columns;
    return {columns * tile_, static_cast<int>(columns * tile_ / ratio)};
  }

  // White above and below.
  static Image on_canvas(const Image& image, Size size, Size canvas) {
    return window(resize(image, size, Filter::kBilinear), 0, -((canvas.height - size.height) / 2),
                  canvas, {255, 255, 255});
  }

  void append_view(const Image& canvas, std::vector<float>& to) const {
    const auto across = cubic_taps(canvas.size.width, tile_);
    const auto down = cubic_taps(canvas.size.height, tile_);
    std::array<std::vector<float>, 4> rows;
    for (auto& row : rows) row.resize(static_cast<size_t>(canvas.size.width));
    for (int channel = 0; channel < 3; ++channel) {
      for (const Taps& y : down) {
        for (size_t j = 0; j < 4; ++j) {
          const uint8_t* row = canvas.rgb.data() + int64_t{y.at[j]} * canvas.size.width * 3;
          scale_.scale(channel, row, canvas.size.width, rows[j].data());
        }
        for (const Taps& x : across) to.push_back(weighed(rows, x, y));
      }
    }
  }

  int crops_;
  PixelScale scale_;
  int tile_ = 0;
  int side_ = 0;  // of a tile, in merged patches
};

}  // namespace

std::unique_ptr<ImageProcessor> make_phi3_v_image_processor(const Json& config,
                                                            const Checkpoint& checkpoint) {
  return std::make_unique<Phi3VImageProcessor>(config, checkpoint);
}

}  // namespace fovea::processors

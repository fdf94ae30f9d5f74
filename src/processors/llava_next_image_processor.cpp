// LlavaNextImageProcessor: a small view of the whole picture, and the picture on the canvas that
// fits it best, cut into tiles of the tower's size. Source: Hugging Face
// image_processing_pil_llava_next. `pixels` is [1 + tiles, channels, H, W]; grid_thw has the
// patches of the canvas that the picture fills, as the model keeps them.
#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "core/limits.h"
#include "processors/image_processors.h"
#include "processors/square_picture.h"
#include "processors/window.h"

namespace fovea::processors {
namespace {

// {height, width} pairs.
std::vector<Size> read_canvases(const Json& config, int tile) {
  std::vector<Size> canvases = {{672, 336}, {336, 672}, {672, 672}, {336, 1008}, {1008, 336}};
  const Json list = config["image_grid_pinpoints"];
  if (!list.is_null()) canvases.clear();
  for (size_t i = 0; i < list.size(); ++i) {
    const auto pair = list.at(i).as_int_list();
    canvases.push_back(pair.size() == 2 ? Size{pair[1], pair[0]} : Size{});
  }
  const auto fits = [&](int side) {
    return side >= tile && side <= kProcessorSideMax && side % tile == 0;
  };
  for (const Size& canvas : canvases) {
    if (fits(canvas.width) && fits(canvas.height)) continue;
    fail(ErrorKind::kInvalidData,
         "[{}] expected pairs of sides in multiples of {}, up to {}, at 'image_grid_pinpoints' but "
         "got {}",
         config.where(), tile, kProcessorSideMax, list.dump());
  }
  if (canvases.empty()) {
    fail(ErrorKind::kInvalidData, "[{}] expected a canvas at 'image_grid_pinpoints' but got none",
         config.where());
  }
  return canvases;
}

// That which shows most of the picture's pixels, then the smallest.
Size best_canvas(Size picture, const std::vector<Size>& canvases) {
  const double w = picture.width;
  const double h = picture.height;
  Size best = canvases.front();
  int64_t most = 0;
  int64_t least_waste = 0;
  for (const Size& canvas : canvases) {
    const double scale = std::min(canvas.width / w, canvas.height / h);
    const int64_t shown =
        std::min(int64_t(w * scale) * int64_t(h * scale), int64_t{picture.width} * picture.height);
    const int64_t waste = int64_t{canvas.width} * canvas.height - shown;
    if (shown < most || (shown == most && (most == 0 || waste >= least_waste))) continue;
    best = canvas;
    most = shown;
    least_waste = waste;
  }
  return best;
}

// The largest size of the picture's shape on the canvas; fractions of a pixel count whole.
Size size_on(Size canvas, Size picture) {
  const double by_width = canvas.width / double(picture.width);
  const double by_height = canvas.height / double(picture.height);
  if (by_width < by_height) {
    const auto height = static_cast<int>(std::ceil(picture.height * by_width));
    return {canvas.width, std::min(height, canvas.height)};
  }
  const auto width = static_cast<int>(std::ceil(picture.width * by_height));
  return {std::min(width, canvas.width), canvas.height};
}

// Python's int(round(x, 7)): whole numbers that rounding errors missed count as reached.
int whole_part(double x) { return static_cast<int>(std::nearbyint(x * 1e7) / 1e7); }

// The part of a canvas of `canvas` patches that a picture fills, centred.
Size patches_filled(Size canvas, Size picture) {
  const double w = picture.width;
  const double h = picture.height;
  Size kept = canvas;
  if (w / h > canvas.width / double(canvas.height)) {
    const int height = whole_part(h * (canvas.width / w));
    kept.height -= (canvas.height - height) / 2 * 2;
  } else {
    const int width = whole_part(w * (canvas.height / h));
    kept.width -= (canvas.width - width) / 2 * 2;
  }
  return kept;
}

class LlavaNextImageProcessor : public ImageProcessor {
 public:
  LlavaNextImageProcessor(const Json& config, const Checkpoint& checkpoint)
      : square_(config, SquarePicture::Kind::kClip),
        tokens_(config, checkpoint),
        tile_(square_.crop_size().height),
        canvases_(read_canvases(config, tile_)) {
    const Size tile = square_.crop_size();
    if (square_.size() != tile || tile.width != tile.height || tile_ < tokens_.patch_size()) {
      fail(ErrorKind::kInvalidData,
           "[{}] expected size and crop_size of one square of patches but got {} and {}",
           config.where(), config["size"].dump(), config["crop_size"].dump());
    }
  }

  ProcessedImage process(const Image& image, const std::string& name) const override {
    const Size canvas = best_canvas(image.size, canvases_);
    const int64_t patch = tokens_.patch_size();
    require_takeable(
        {.pixels = canvas.area() + square_.size().area(),
         .tokens = tokens_(square_.size()) + canvas.height / patch * (canvas.width / patch + 1)},
        name);
    const Size fitted = size_on(canvas, image.size);
    const Image padded =
        window(resize(image, fitted, square_.filter()), -((canvas.width - fitted.width) / 2),
               -((canvas.height - fitted.height) / 2), canvas);
    ProcessedImage out;
    out.used = fitted;
    out.tiles = {canvas.height / tile_, canvas.width / tile_};
    out.pixels.shape = {1 + out.tiles[0] * out.tiles[1], 3, tile_, tile_};
    append(resize(image, square_.size(), square_.filter()), name, out.pixels);
    for (int y = 0; y < canvas.height; y += tile_) {
      for (int x = 0; x < canvas.width; x += tile_) {
        append(window(padded, x, y, square_.size()), name, out.pixels);
      }
    }
    const int side = tile_ / tokens_.patch_size();
    const Size kept = patches_filled({out.tiles[1] * side, out.tiles[0] * side}, image.size);
    if (kept.width < 1 || kept.height < 1) {
      fail(ErrorKind::kInvalidData,
           "[picture] expected a picture less narrow than '{}' but got {}x{}", name,
           image.size.width, image.size.height);
    }
    out.grid_thw = {1, kept.height, kept.width};
    out.tokens = tokens_(square_.size()) + kept.height * (kept.width + 1);
    return out;
  }

 private:
  void append(const Image& tile, const std::string& name, HostTensor& pixels) const {
    square_.append(square_.fit(tile, name), pixels);
  }

  SquarePicture square_;
  SquareTokens tokens_;
  int tile_;
  std::vector<Size> canvases_;
};

}  // namespace

std::unique_ptr<ImageProcessor> make_llava_next_image_processor(const Json& config,
                                                                const Checkpoint& checkpoint) {
  return std::make_unique<LlavaNextImageProcessor>(config, checkpoint);
}

}  // namespace fovea::processors

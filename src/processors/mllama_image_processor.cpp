// MllamaImageProcessor: the picture on the canvas of whole tiles that enlarges it least, or failing
// that shrinks it least, in the corner at the left and above, black elsewhere. Source: Hugging Face
// image_processing_pil_mllama. `pixels` is [tiles, 3, side, side], row by row of the canvas;
// `tiles` tells the model which canvas it was. A picture takes one token whatever its size: the
// decoder looks at it through cross-attention.
#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "core/limits.h"
#include "processors/image_processors.h"
#include "processors/pixel_scale.h"
#include "processors/resample.h"
#include "processors/window.h"

namespace fovea::processors {
namespace {

constexpr int kTilesMax = 64;

int read_tile(const Json& config) {
  const Json size = config.optional_object("size");
  const int height = size.get_int("height", 224);
  if (height < 1 || height > kProcessorSideMax || size.get_int("width", 224) != height) {
    fail(ErrorKind::kInvalidData,
         "[{}] expected a square of sides from 1 to {} at 'size' but got {}", config.where(),
         kProcessorSideMax, size.dump());
  }
  return height;
}

int read_tiles_max(const Json& config, int tile) {
  const int most = config.get_int("max_image_tiles", 4);
  if (most < 1 || most > kTilesMax || int64_t{most} * tile * tile > kPicturePixelsMax) {
    fail(ErrorKind::kInvalidData,
         "[{}] expected 'max_image_tiles' from 1 to {}, of {} pixels together, but got {} of {}x{}",
         config.where(), kTilesMax, kPicturePixelsMax, most, tile, tile);
  }
  return most;
}

// Columns and rows of tiles. Of canvases that scale the picture alike the smallest, then that with
// the fewest rows.
Size best_canvas(Size picture, int tiles_max, int tile) {
  Size best;
  double best_scale = 0;
  for (int rows = 1; rows <= tiles_max; ++rows) {
    for (int columns = 1; rows * columns <= tiles_max; ++columns) {
      const double scale =
          std::min(double(rows * tile) / picture.height, double(columns * tile) / picture.width);
      const bool grows = scale >= 1;
      const bool best_grows = best_scale >= 1;
      const bool better = grows != best_grows ? grows
                          : grows             ? scale < best_scale
                                              : scale > best_scale;
      const bool smaller = rows * columns < best.width * best.height;
      if (better || (scale == best_scale && smaller)) {
        best = {columns, rows};
        best_scale = scale;
      }
    }
  }
  return best;
}

// The picture's size on a canvas: both sides grow to a tile or shrink to the canvas, each as far as
// the other lets it.
Size size_on(Size canvas, Size picture, int tile) {
  const int width = std::clamp(picture.width, tile, canvas.width);
  const int height = std::clamp(picture.height, tile, canvas.height);
  const double by_width = double(width) / picture.width;
  const double by_height = double(height) / picture.height;
  const auto other = [](double side, int most) {
    return std::min(std::max(1, static_cast<int>(std::floor(side))), most);
  };
  return by_width < by_height ? Size{width, other(picture.height * by_width, height)}
                              : Size{other(picture.width * by_height, width), height};
}

class MllamaImageProcessor : public ImageProcessor {
 public:
  explicit MllamaImageProcessor(const Json& config)
      : tile_(read_tile(config)),
        tiles_max_(read_tiles_max(config, tile_)),
        filter_(filter_from_number(config.get_int("resample", 2))),
        scale_(config, kHalf, kHalf) {
    for (const char* step : {"do_resize", "do_pad"}) {
      if (config.get_bool(step, true)) continue;
      fail(ErrorKind::kUnsupported, "[{}] expected true at '{}' but got false", config.where(),
           step);
    }
  }

  ProcessedImage process(const Image& image, const std::string& name) const override {
    const Size tiles = best_canvas(image.size, tiles_max_, tile_);
    const Size canvas = {tiles.width * tile_, tiles.height * tile_};
    require_takeable({.pixels = canvas.area(), .tokens = 1}, name);
    ProcessedImage out;
    out.used = size_on(canvas, image.size, tile_);
    out.tiles = {tiles.height, tiles.width};
    out.tokens = 1;
    const Image padded = window(resize(image, out.used, filter_), 0, 0, canvas);
    out.pixels.shape = {tiles.width * tiles.height, 3, tile_, tile_};
    out.pixels.data.reserve(size_t{3} * static_cast<size_t>(canvas.width) *
                            static_cast<size_t>(canvas.height));
    for (int y = 0; y < canvas.height; y += tile_) {
      for (int x = 0; x < canvas.width; x += tile_) {
        append_planes(padded, x, y, {tile_, tile_}, scale_, out.pixels.data);
      }
    }
    return out;
  }

 private:
  int tile_;       // side of a tile
  int tiles_max_;  // of a picture
  Filter filter_;
  PixelScale scale_;
};

}  // namespace

std::unique_ptr<ImageProcessor> make_mllama_image_processor(const Json& config, const Checkpoint&) {
  return std::make_unique<MllamaImageProcessor>(config);
}

}  // namespace fovea::processors

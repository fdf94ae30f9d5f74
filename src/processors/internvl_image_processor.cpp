// The pictures of InternVL: stretched to the grid of tiles whose shape is nearest, cut, and a small
// view of the whole behind them. Source: dynamic_preprocess of the InternVL checkpoints' model
// card, checked against copies of it in public repositories; sizes stand in config.json. `pixels`
// is [tiles, channels, H, W]. Of two grids as near as each other the larger is taken where the
// picture has half its pixels; mlx-vlm takes the one whose area is nearer.
#include <algorithm>
#include <array>
#include <cmath>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "core/limits.h"
#include "processors/image_processors.h"
#include "processors/pixel_scale.h"
#include "processors/resample.h"

namespace fovea::processors {
namespace {

constexpr std::array<float, 3> kImagenetMean = {0.485f, 0.456f, 0.406f};
constexpr std::array<float, 3> kImagenetStd = {0.229f, 0.224f, 0.225f};
constexpr int kTilesMax = 256;
constexpr std::string_view kContext = "<IMG_CONTEXT>";

struct Grid {
  int columns = 1;
  int rows = 1;
  int tiles() const { return columns * rows; }
};

class InternVlImageProcessor : public ImageProcessor {
 public:
  InternVlImageProcessor(const Json& config, const Checkpoint& checkpoint)
      : filter_(filter_from_number(config.get_int("resample", 3))),
        scale_(config, kImagenetMean, kImagenetStd) {
    const Json& model = checkpoint.config;
    const Json vision = model["vision_config"];
    tile_ = model.get_int("force_image_size", vision.get_int("image_size", 448));
    const int patch = vision.get_int("patch_size", 14);
    const double ratio = model.get_double("downsample_ratio", 0.5);
    fewest_ = model.get_int("min_dynamic_patch", 1);
    most_ = model.get_int("max_dynamic_patch", 12);
    cuts_ = model.get_bool("dynamic_image_size", true);
    views_ = model.get_bool("use_thumbnail", true);
    if (tile_ < 1 || tile_ > kProcessorSideMax || patch < 1 || !(ratio > 0 && ratio <= 1) ||
        fewest_ < 1 || fewest_ > most_ || most_ > kTilesMax) {
      fail(ErrorKind::kInvalidData,
           "[config.json] expected tiles of up to {} pixels, a downsample_ratio up to 1, "
           "min_dynamic_patch up to max_dynamic_patch up to {} but got {}, {}, {}, {}",
           kProcessorSideMax, kTilesMax, tile_, ratio, fewest_, most_);
    }
    const int side = static_cast<int>(tile_ / patch * ratio + 1e-6);
    tokens_ = side * side;
    if (tokens_ < 1) {
      fail(ErrorKind::kInvalidData, "[config.json] expected tiles of a token but got {} pixels",
           tile_);
    }
    // Small grids first; the published code leaves the order within a size open.
    for (int tiles = fewest_; tiles <= most_; ++tiles) {
      for (int columns = 1; columns <= tiles; ++columns) {
        if (tiles % columns == 0) grids_.push_back({columns, tiles / columns});
      }
    }
  }

  ProcessedImage process(const Image& image, const std::string& name) const override {
    const Grid grid = cuts_ ? nearest(image.size) : Grid{};
    const bool view = views_ && grid.tiles() > 1;
    const int count = grid.tiles() + (view ? 1 : 0);
    const int64_t tokens = int64_t{count} * tokens_;
    require_takeable({.pixels = int64_t{count} * tile_ * tile_,
                      .tokens = tokens,
                      .markup_bytes = tokens * int64_t{kContext.size()}},
                     name);
    const Size canvas = {grid.columns * tile_, grid.rows * tile_};
    const Image stretched = resize(image, canvas, filter_);
    ProcessedImage out;
    out.used = canvas;
    out.tiles = {grid.rows, grid.columns};
    for (int y = 0; y < canvas.height; y += tile_) {
      for (int x = 0; x < canvas.width; x += tile_) {
        append_planes(stretched, x, y, {tile_, tile_}, scale_, out.pixels.data);
      }
    }
    if (view) {
      const Size square = {tile_, tile_};
      append_planes(resize(image, square, filter_), 0, 0, square, scale_, out.pixels.data);
    }
    out.pixels.shape = {count, 3, tile_, tile_};
    out.tokens = static_cast<int>(tokens);
    out.markup = "<img>";
    for (int i = 0; i < out.tokens; ++i) out.markup += kContext;
    out.markup += "</img>";
    return out;
  }

 private:
  Grid nearest(Size size) const {
    const double shape = size.width / static_cast<double>(size.height);
    const double area = static_cast<double>(size.width) * size.height;
    Grid best;
    double least = INFINITY;
    for (const Grid& grid : grids_) {
      const double difference = std::abs(shape - grid.columns / static_cast<double>(grid.rows));
      const bool large_enough = area > 0.5 * tile_ * tile_ * grid.tiles();
      if (difference < least || (difference == least && large_enough)) best = grid;
      least = std::min(least, difference);
    }
    return best;
  }

  Filter filter_;
  PixelScale scale_;
  int tile_ = 0;
  int tokens_ = 0;  // of a tile
  int fewest_ = 0;
  int most_ = 0;
  bool cuts_ = true;
  bool views_ = true;
  std::vector<Grid> grids_;
};

}  // namespace

std::unique_ptr<ImageProcessor> make_internvl_image_processor(const Json& config,
                                                              const Checkpoint& checkpoint) {
  return std::make_unique<InternVlImageProcessor>(config, checkpoint);
}

}  // namespace fovea::processors

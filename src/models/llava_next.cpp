// LLaVA NeXT (1.6): LLaVA on a small view of the whole picture and on tiles of a larger one, whose
// features are put together again, cut to the picture's shape, and end every row with a learned
// vector. Sources: Hugging Face modeling_llava_next and the LLaVA-NeXT report of January 2024.
// mlx-vlm looks at the first picture alone and repeats a whole tile for the row ends; ours is
// Hugging Face's.
//
// Legend: N tokens of one picture, D hidden size.
#include "base/error.h"
#include "mlx/ops.h"
#include "models/families.h"
#include "models/llava_model.h"

namespace fovea::models {
namespace {

class LlavaNext : public LlavaModel {
 public:
  explicit LlavaNext(const Checkpoint& checkpoint)
      : LlavaModel(checkpoint),
        side_(tower_.config().image_size / tower_.config().patch_size),
        image_newline_(mx::zeros({decoder_.config().hidden_size})) {
    if (tokens_per_picture() != side_ * side_) {
      fail(
          ErrorKind::kUnsupported,
          "[config.json] expected vision_feature_select_strategy that keeps the tower's {} patches "
          "but got {} rows",
          side_ * side_, tokens_per_picture());
    }
  }

  // span.pixels has the small view, then the tiles row by row; grid_thw the patches that the
  // picture fills, centred.
  mx::array encode_media(const MediaSpan& span) const override {
    const auto [tile_rows, tile_columns] = span.tiles;
    const int rows = tile_rows * side_;
    const int columns = tile_columns * side_;
    const auto [frames, height, width] = span.grid_thw;
    if (span.pixels.shape.empty() || span.pixels.shape[0] != 1 + tile_rows * tile_columns ||
        height < 1 || height > rows || width < 1 || width > columns) {
      fail(ErrorKind::kInvalidData,
           "[vision] expected a view and {} x {} tiles that hold {} x {} patches but got pixels {}",
           tile_rows, tile_columns, height, width, span.pixels.shape);
    }
    const auto features = project(span.pixels);
    const int d = features.shape(1);
    const int whole = side_ * side_;
    const auto tiles = mx::reshape(mx::slice(features, {whole, 0}, features.shape()),
                                   {tile_rows, tile_columns, side_, side_, d});
    const auto canvas = mx::reshape(mx::transpose(tiles, {0, 2, 1, 3, 4}), {rows, columns, d});
    const int top = (rows - height) / 2;
    const int left = (columns - width) / 2;
    const auto kept = mx::slice(canvas, {top, left, 0}, {top + height, left + width, d});
    const auto ends = mx::broadcast_to(mx::astype(image_newline_, mx::float32), {height, 1, d});
    const auto lines = mx::reshape(mx::concatenate({kept, ends}, 1), {height * (width + 1), d});
    return mx::concatenate({mx::slice(features, {0, 0}, {whole, d}), lines}, 0);
  }

  void visit(nn::Visitor& visitor) override {
    LlavaModel::visit(visitor);
    visitor.parameter("image_newline", image_newline_);
  }

 private:
  int side_;  // of a tile, in patches
  mx::array image_newline_;
};

}  // namespace

std::unique_ptr<Model> make_llava_next(const Checkpoint& checkpoint) {
  return std::make_unique<LlavaNext>(checkpoint);
}

}  // namespace fovea::models

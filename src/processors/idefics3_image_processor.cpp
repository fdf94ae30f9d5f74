// Idefics3ImageProcessor and SmolVLMImageProcessor: the longer side is brought to `size`, then both
// sides up to multiples of `max_image_size`, and the picture is cut into squares of that size, with
// the whole of it as a last one. Sources: Hugging Face image_processing_idefics3,
// processing_idefics3. `pixels` is [tiles, channels, side, side]; the markup names each tile's row
// and column.
#include <algorithm>
#include <optional>
#include <string_view>

#include "base/error.h"
#include "core/limits.h"
#include "processors/image_processors.h"
#include "processors/pixel_scale.h"
#include "processors/resample.h"
#include "processors/video_processor.h"

namespace fovea::processors {
namespace {

constexpr int kResizedSideMax = 4096;  // MAX_IMAGE_SIZE
constexpr std::string_view kImage = "<image>";
constexpr std::string_view kAround = "<fake_token_around_image>";
constexpr std::string_view kGlobal = "<global-img>";

// image_seq_len, or what the model makes of a tile.
int tokens_per_tile(const Checkpoint& checkpoint) {
  const Json vision = checkpoint.config["vision_config"];
  const int patch = std::max(1, vision.get_int("patch_size", 32));
  const int scale = std::max(1, checkpoint.config.get_int("scale_factor", 2));
  const int side = std::clamp(vision.get_int("image_size", 224) / patch / scale, 0, 64);
  const int tokens =
      checkpoint.read_json("processor_config.json").get_int("image_seq_len", side * side);
  if (tokens < 1 || tokens > kProcessorSideMax) {
    fail(ErrorKind::kInvalidData,
         "[processor_config.json] expected 'image_seq_len' from 1 to {} but got {}",
         kProcessorSideMax, tokens);
  }
  return tokens;
}

// The longer side becomes `longest` and the other keeps the shape, cut to a whole number, then made
// even where `even`.
Size with_longest(Size size, int longest, bool even) {
  const double aspect = static_cast<double>(size.width) / size.height;
  const bool wide = size.width >= size.height;
  int other = static_cast<int>(wide ? longest / aspect : longest * aspect);
  if (even) other += other % 2;
  other = std::max(other, 1);
  return wide ? Size{longest, other} : Size{other, longest};
}

class Idefics3ImageProcessor : public ImageProcessor {
 public:
  Idefics3ImageProcessor(const Json& config, const Checkpoint& checkpoint)
      : tokens_(tokens_per_tile(checkpoint)),
        resize_(config.get_bool("do_resize", true)),
        split_(config.get_bool("do_image_splitting", true)),
        filter_(filter_from_number(config.get_int("resample", 1))),
        scale_(config, kHalf, kHalf) {
    const Json size = config.optional_object("size");
    tile_ = config.optional_object("max_image_size").get_int("longest_edge", 364);
    longest_ = size.get_int("longest_edge", 4 * 364);
    if (size.contains("height") && !size.contains("longest_edge")) {
      fixed_ = Size{size["width"].as_int32(), size["height"].as_int32()};
    }
    const Json video = video_processor_config(checkpoint);
    const Json video_size = video["video_sampling"]["video_size"];
    video_longest_ = (video_size.is_null() ? video["size"] : video_size)
                         .get_int("longest_edge", std::min(longest_, kResizedSideMax));
    const auto odd = [](int side) { return side < 1 || side > kProcessorSideMax; };
    if (odd(tile_) || odd(video_longest_) || longest_ < 1 || longest_ > kPictureSideMax ||
        (fixed_ && (odd(fixed_->width) || odd(fixed_->height)))) {
      fail(ErrorKind::kInvalidData,
           "[{}] expected 'size' and 'max_image_size' of sides from 1 to {} but got {} and {}",
           config.where(), kProcessorSideMax, config["size"].dump(),
           config["max_image_size"].dump());
    }
  }

  ProcessedImage process(const Image& image, const std::string& name) const override {
    const Image first = resize_ ? resize(image, target_size(image.size), filter_) : image;
    const Size square = {tile_, tile_};
    const Size whole = split_ ? in_tiles(first.size, name) : square;
    const Image used = resize(first, whole, filter_);
    const int rows = whole.height / tile_;
    const int columns = whole.width / tile_;
    const bool cut = rows > 1 || columns > 1;
    ProcessedImage out;
    out.used = used.size;
    const int tiles = cut ? rows * columns + 1 : 1;
    out.tokens = tiles * tokens_;
    out.pixels.shape = {tiles, 3, tile_, tile_};
    out.pixels.data.reserve(size_t{3} * tiles * tile_ * tile_);
    for (int i = 0; cut && i < rows * columns; ++i) {
      append_planes(used, i % columns * tile_, i / columns * tile_, square, scale_,
                    out.pixels.data);
    }
    append_planes(resize(used, square, filter_), 0, 0, square, scale_, out.pixels.data);
    out.markup = cut ? markup(rows, columns) : markup(0, 0);
    return out;
  }

  // Whole, as SmolVLM's video processor does it.
  ProcessedImage process_frame(const Image& image, const std::string&) const override {
    const Image first =
        resize_ ? resize(image, with_longest(image.size, video_longest_, true), filter_) : image;
    const Size square = {tile_, tile_};
    ProcessedImage out;
    out.used = square;
    out.tokens = tokens_;
    out.pixels.shape = {1, 3, tile_, tile_};
    append_planes(resize(first, square, filter_), 0, 0, square, scale_, out.pixels.data);
    out.markup = markup(0, 0);
    return out;
  }

 private:
  Size target_size(Size size) const {
    if (fixed_) return *fixed_;
    size = with_longest(size, longest_, true);
    return longest_ > kResizedSideMax ? with_longest(size, kResizedSideMax, false) : size;
  }

  // Both sides up to multiples of a tile.
  Size in_tiles(Size size, const std::string& name) const {
    const auto up = [&](int64_t side) {
      return std::max<int64_t>(1, (side + tile_ - 1) / tile_) * tile_;
    };
    const double aspect = static_cast<double>(size.width) / size.height;
    int64_t width = up(size.width);
    int64_t height = up(size.height);
    if (size.width >= size.height) {
      height = up(static_cast<int64_t>(static_cast<double>(width) / aspect));
    } else {
      width = up(static_cast<int64_t>(static_cast<double>(height) * aspect));
    }
    const int64_t tiles = width / tile_ * (height / tile_) + 1;
    // A row's and a column's number have few digits.
    constexpr int64_t kAroundTile = kAround.size() + sizeof "<row_00000_col_00000>";
    require_takeable({.pixels = tiles * tile_ * tile_,
                      .tokens = tiles * tokens_,
                      .markup_bytes = tiles * (tokens_ * int64_t{kImage.size()} + kAroundTile)},
                     name);
    return {static_cast<int>(width), static_cast<int>(height)};
  }

  std::string markup(int rows, int columns) const {
    std::string tokens;
    for (int i = 0; i < tokens_; ++i) tokens += kImage;
    std::string text;
    for (int row = 1; row <= rows; ++row) {
      for (int column = 1; column <= columns; ++column) {
        text += fmt::format("{}<row_{}_col_{}>{}", kAround, row, column, tokens);
      }
      text += "\n";
    }
    if (rows > 0) text += "\n";
    return text + fmt::format("{}{}{}{}", kAround, kGlobal, tokens, kAround);
  }

  int tokens_;  // of a tile
  bool resize_;
  bool split_;
  Filter filter_;
  PixelScale scale_;
  int tile_;                   // side of a tile
  int video_longest_;          // side of a video's frame after the first resize
  int longest_;                // of a picture,
  std::optional<Size> fixed_;  // unless both sides are given
};

}  // namespace

std::unique_ptr<ImageProcessor> make_idefics3_image_processor(const Json& config,
                                                              const Checkpoint& checkpoint) {
  return std::make_unique<Idefics3ImageProcessor>(config, checkpoint);
}

}  // namespace fovea::processors

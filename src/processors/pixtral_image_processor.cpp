// PixtralImageProcessor: the picture keeps its shape within a longest side, its sides grow to whole
// units of the patches that the model merges. Sources: Hugging Face image_processing_pil_pixtral
// and processing_pixtral. `pixels` is [h * w, channels * patch^2], row by row; the picture's markup
// ends every row with a token.
#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "core/limits.h"
#include "processors/image_processors.h"
#include "processors/pixel_scale.h"
#include "processors/resample.h"

namespace fovea::processors {
namespace {

// {"height", "width"} or one number; both sides must be equal.
int patch_at(const Json& config, int fallback) {
  const Json value = config["patch_size"];
  if (!value.is_object()) return config.get_int("patch_size", fallback);
  const int height = value.get_int("height", fallback);
  if (value.get_int("width", fallback) != height) {
    fail(ErrorKind::kUnsupported, "[{}] expected square patches at '{}' but got {}", config.where(),
         value.path(), value.dump());
  }
  return height;
}

class PixtralImageProcessor : public ImageProcessor {
 public:
  PixtralImageProcessor(const Json& config, const Checkpoint& checkpoint)
      : resize_(config.get_bool("do_resize", true)),
        filter_(filter_from_number(config.get_int("resample", 3))),
        scale_(config, kClipMean, kClipStd) {
    const Json processor = checkpoint.read_json("processor_config.json");
    patch_ = patch_at(processor, patch_at(config, 16));
    merge_ =
        processor.get_int("spatial_merge_size", checkpoint.config.get_int("spatial_merge_size", 1));
    image_token_ = processor.get_string("image_token", "[IMG]");
    row_end_ = processor.get_string("image_break_token", "[IMG_BREAK]");
    picture_end_ = processor.get_string("image_end_token", "[IMG_END]");
    const Json size = config["size"].is_null() ? Json() : config["size"].as_object();
    const int longest = size.get_int("longest_edge", 1024);
    most_ = {size.get_int("width", longest), size.get_int("height", longest)};
    const auto odd = [](int value, int most) { return value < 1 || value > most; };
    if (odd(patch_, kProcessorPatchMax) || odd(merge_, kProcessorMergeMax) ||
        odd(most_.width, kProcessorSideMax) || odd(most_.height, kProcessorSideMax)) {
      fail(ErrorKind::kInvalidData,
           "[{}] expected patch_size up to {}, spatial_merge_size up to {}, a longest_edge up to "
           "{} but got {}, {}, {}",
           config.where(), kProcessorPatchMax, kProcessorMergeMax, kProcessorSideMax, patch_,
           merge_, config["size"].dump());
    }
  }

  ProcessedImage process(const Image& image, const std::string& name) const override {
    const Size size = resize_ ? target_size(image.size, name) : image.size;
    const int unit = patch_ * merge_;
    if (size.width % unit != 0 || size.height % unit != 0) {
      fail(ErrorKind::kInvalidData,
           "[picture] expected sides in multiples of {} in '{}' but got {}x{}", unit, name,
           image.size.width, image.size.height);
    }
    const int rows = size.height / unit;
    const int columns = size.width / unit;
    require_takeable({.pixels = size.area(),
                      .tokens = int64_t{rows} * (columns + 1),
                      .markup_bytes = int64_t{rows} * (columns * text_bytes(image_token_) +
                                                       text_bytes(row_end_)) +
                                      text_bytes(picture_end_)},
                     name);
    const Image used = resize_ ? resize(image, size, filter_) : image;
    ProcessedImage out;
    out.used = size;
    out.grid_thw = {1, size.height / patch_, size.width / patch_};
    out.tokens = rows * columns;
    for (int row = 0; row < rows; ++row) {
      for (int column = 0; column < columns; ++column) out.markup += image_token_;
      out.markup += row + 1 < rows ? row_end_ : picture_end_;
    }
    out.pixels = patches(used, out.grid_thw[1], out.grid_thw[2]);
    return out;
  }

 private:
  // No more than says that it is too long.
  static int64_t text_bytes(const std::string& text) {
    return static_cast<int64_t>(std::min(text.size(), kPromptBytesMax + 1));
  }

  Size target_size(Size size, const std::string& name) const {
    const double ratio = std::max(size.height / static_cast<double>(most_.height),
                                  size.width / static_cast<double>(most_.width));
    if (ratio > 1) {
      size = {static_cast<int>(std::floor(size.width / ratio)),
              static_cast<int>(std::floor(size.height / ratio))};
    }
    if (size.width < 1 || size.height < 1) {
      fail(ErrorKind::kInvalidData,
           "[picture] expected a picture less narrow than '{}' that keeps a pixel within {}x{}",
           name, most_.width, most_.height);
    }
    const int unit = patch_ * merge_;
    const auto whole = [&](int side) { return ((side - 1) / unit + 1) * unit; };
    return {whole(size.width), whole(size.height)};
  }

  HostTensor patches(const Image& image, int rows, int columns) const {
    HostTensor out;
    out.shape = {rows * columns, 3 * patch_ * patch_};
    out.data.reserve(image.rgb.size());
    for (int patch = 0; patch < rows * columns; ++patch) {
      const int top = patch / columns * patch_;
      const int left = patch % columns * patch_;
      append_planes(image, left, top, {patch_, patch_}, scale_, out.data);
    }
    return out;
  }

  bool resize_;
  Filter filter_;
  PixelScale scale_;
  int patch_ = 0;
  int merge_ = 0;
  Size most_;
  std::string image_token_;
  std::string row_end_;
  std::string picture_end_;
};

}  // namespace

std::unique_ptr<ImageProcessor> make_pixtral_image_processor(const Json& config,
                                                             const Checkpoint& checkpoint) {
  return std::make_unique<PixtralImageProcessor>(config, checkpoint);
}

}  // namespace fovea::processors

// Gemma3ImageProcessor: a picture is stretched to a square, and with `do_pan_and_scan` an oblong
// one is also cut into pieces, each a square of its own. Sources: Hugging Face
// image_processing_gemma3, processing_gemma3. `pixels` is [1 + pieces, channels, side, side], the
// whole picture first.
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

constexpr std::string_view kImage = "<image_soft_token>";
constexpr std::string_view kBegin = "<start_of_image>";
constexpr std::string_view kEnd = "<end_of_image>";
constexpr int kPiecesMax = 64;

// The pieces of an oblong picture side by side; empty for one that is not oblong, or too small.
struct PanAndScan {
  bool on = false;
  int min_crop_size = 256;
  int max_num_crops = 4;
  double min_ratio_to_activate = 1.2;

  std::vector<std::pair<Size, Size>> pieces(Size size) const;  // top left corner, size
};

std::vector<std::pair<Size, Size>> PanAndScan::pieces(Size size) const {
  const bool wide = size.width >= size.height;
  const int longer = std::max(size.width, size.height);
  const int shorter = std::min(size.width, size.height);
  const double ratio = static_cast<double>(longer) / shorter;
  if (!on || ratio < min_ratio_to_activate) return {};
  const int fitting = std::min(longer / min_crop_size, static_cast<int>(std::floor(ratio + 0.5)));
  const int count = std::min(max_num_crops, std::max(2, fitting));
  const int length = (longer + count - 1) / count;
  if (std::min(length, shorter) < min_crop_size) return {};
  std::vector<std::pair<Size, Size>> pieces;
  for (int at = 0; at < longer && static_cast<int>(pieces.size()) < count; at += length) {
    const int part = std::min(length, longer - at);
    pieces.push_back(wide ? std::pair{Size{at, 0}, Size{part, shorter}}
                          : std::pair{Size{0, at}, Size{shorter, part}});
  }
  return pieces;
}

class Gemma3ImageProcessor : public ImageProcessor {
 public:
  Gemma3ImageProcessor(const Json& config, const Checkpoint& checkpoint)
      : resize_(config.get_bool("do_resize", true)),
        filter_(filter_from_number(config.get_int("resample", 2))),
        scale_(config, kHalf, kHalf) {
    const Json size = config.optional_object("size");
    size_ = {size.get_int("width", 224), size.get_int("height", 224)};
    scan_.on = config.get_bool("do_pan_and_scan", false);
    scan_.min_crop_size = config.get_int("pan_and_scan_min_crop_size", scan_.min_crop_size);
    scan_.max_num_crops = config.get_int("pan_and_scan_max_num_crops", scan_.max_num_crops);
    scan_.min_ratio_to_activate =
        config.get_double("pan_and_scan_min_ratio_to_activate", scan_.min_ratio_to_activate);
    tokens_ =
        checkpoint.read_json("processor_config.json")
            .get_int("image_seq_length", checkpoint.config.get_int("mm_tokens_per_image", 256));
    const auto odd = [](int value, int most) { return value < 1 || value > most; };
    if (odd(size_.width, kProcessorSideMax) || odd(size_.height, kProcessorSideMax) ||
        odd(scan_.min_crop_size, kPictureSideMax) || odd(scan_.max_num_crops, kPiecesMax) ||
        odd(tokens_, kProcessorSideMax)) {
      fail(ErrorKind::kInvalidData,
           "[{}] expected sides and tokens from 1 to {}, pan_and_scan_min_crop_size from 1 and "
           "pan_and_scan_max_num_crops from 1 to {} but got {}, {}, {} and {}",
           config.where(), kProcessorSideMax, kPiecesMax, config["size"].dump(), tokens_,
           scan_.min_crop_size, scan_.max_num_crops);
    }
  }

  ProcessedImage process(const Image& image, const std::string& name) const override {
    const auto pieces = scan_.pieces(image.size);
    const auto count = static_cast<int64_t>(pieces.size()) + 1;
    const int64_t tokens = count * tokens_;
    const int64_t pixels = resize_ ? count * size_.area() : 2 * image.size.area();
    require_takeable({pixels, tokens, tokens * int64_t{kImage.size()}}, name);
    ProcessedImage out;
    add(image, out);
    for (const auto& [corner, size] : pieces)
      add(window(image, corner.width, corner.height, size), out);
    out.tokens = static_cast<int>(tokens);
    out.pixels.shape = {static_cast<int>(count), 3, out.used.height, out.used.width};
    out.markup = markup(static_cast<int>(pieces.size()));
    return out;
  }

 private:
  void add(const Image& image, ProcessedImage& out) const {
    const Image square = resize_ ? resize(image, size_, filter_) : image;
    append_planes(square, 0, 0, square.size, scale_, out.pixels.data);
    if (out.used.width == 0) out.used = square.size;
  }

  std::string markup(int pieces) const {
    std::string one = fmt::format("\n\n{}", kBegin);
    for (int i = 0; i < tokens_; ++i) one += kImage;
    one += fmt::format("{}\n\n", kEnd);
    if (pieces == 0) return one;
    std::string text = fmt::format(
        "Here is the original image {} and here are some crops to help you see better", one);
    for (int i = 0; i < pieces; ++i) text += " " + one;
    return text;
  }

  bool resize_;
  Filter filter_;
  PixelScale scale_;
  Size size_;
  PanAndScan scan_;
  int tokens_ = 0;  // of a square
};

}  // namespace

std::unique_ptr<ImageProcessor> make_gemma3_image_processor(const Json& config,
                                                            const Checkpoint& checkpoint) {
  return std::make_unique<Gemma3ImageProcessor>(config, checkpoint);
}

}  // namespace fovea::processors

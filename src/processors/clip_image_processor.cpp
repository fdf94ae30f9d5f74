// CLIPImageProcessor and SiglipImageProcessor: one square of a fixed size. CLIP scales the shorter
// side and crops the centre (with black where the picture is too small), SigLIP stretches. Sources:
// Hugging Face image_processing_clip, image_processing_siglip. `pixels` is [1, channels, H, W].
#include <algorithm>

#include "base/error.h"
#include "processors/image_processors.h"
#include "processors/pixel_scale.h"
#include "processors/resample.h"

namespace fovea::processors {
namespace {

// {"height", "width"} or one number for both; absent is `fallback` squared.
Size fixed_size(const Json& value, int fallback) {
  if (value.is_number()) return {value.as_int32(), value.as_int32()};
  return {value.get_int("width", fallback), value.get_int("height", fallback)};
}

// How many tokens a picture of this size takes in a llava prompt.
class TokenCount {
 public:
  explicit TokenCount(const Checkpoint& checkpoint) {
    const Json processor = checkpoint.read_json("processor_config.json");
    const Json vision = checkpoint.config["vision_config"];
    const bool clip = vision.get_string("model_type", "clip_vision_model") == "clip_vision_model";
    patch_ = processor.get_int("patch_size", vision.get_int("patch_size", 14));
    const std::string strategy = processor.get_string(
        "vision_feature_select_strategy",
        checkpoint.config.get_string("vision_feature_select_strategy", "default"));
    extra_ = processor.get_int("num_additional_image_tokens", clip ? 1 : 0) -
             (strategy == "default" ? 1 : 0);
    if (patch_ < 1) {
      fail(ErrorKind::kInvalidData,
           "[processor_config.json] expected a positive patch_size but got {}", patch_);
    }
  }
  int operator()(Size size) const {
    return (size.height / patch_) * (size.width / patch_) + extra_;
  }

 private:
  int patch_;
  int extra_;
};

// Pads with black, then crops, both around the centre.
Image centre(const Image& image, Size size) {
  Image out;
  out.size = size;
  out.rgb.assign(size_t{3} * static_cast<size_t>(size.width) * static_cast<size_t>(size.height), 0);
  const auto offset = [](int have, int want) {
    return have >= want ? (have - want) / 2 : -((want - have + 1) / 2);
  };
  const int left = offset(image.size.width, size.width);
  const int top = offset(image.size.height, size.height);
  for (int y = 0; y < size.height; ++y) {
    const int from_y = y + top;
    if (from_y < 0 || from_y >= image.size.height) continue;
    const int first = std::max(0, -left);
    const int last = std::min(size.width, image.size.width - left);
    const uint8_t* row = image.rgb.data() + (int64_t{from_y} * image.size.width + left + first) * 3;
    std::copy(row, row + int64_t{3} * (last - first),
              out.rgb.data() + (int64_t{y} * size.width + first) * 3);
  }
  return out;
}

class SquareImageProcessor : public ImageProcessor {
 public:
  enum class Kind { kClip, kSiglip };

  SquareImageProcessor(const Json& config, const Checkpoint& checkpoint, Kind kind)
      : tokens_(checkpoint),
        resize_(config.get_bool("do_resize", true)),
        crop_(kind == Kind::kClip && config.get_bool("do_center_crop", true)),
        filter_(filter_from_number(config.get_int("resample", 3))),
        scale_(config, kind == Kind::kClip ? kClipMean : kHalf,
               kind == Kind::kClip ? kClipStd : kHalf) {
    const Json size = config["size"];
    if (kind == Kind::kClip && !size.contains("height")) {
      shortest_edge_ = size.is_number() ? size.as_int32() : size.get_int("shortest_edge", 224);
    } else {
      size_ = fixed_size(size, 224);
    }
    crop_size_ = fixed_size(config["crop_size"], 224);
    if (shortest_edge_ < 0 || size_.width < 0 || size_.height < 0 || crop_size_.width < 1 ||
        crop_size_.height < 1 || (shortest_edge_ == 0 && size_.width * size_.height == 0)) {
      fail(ErrorKind::kInvalidData, "[{}] expected positive sizes at 'size' and 'crop_size'",
           config.where());
    }
  }

  ProcessedImage process(const Image& image) const override {
    Image used = resize_ ? resize(image, target_size(image.size), filter_) : image;
    if (crop_) used = centre(used, crop_size_);
    ProcessedImage out;
    out.used = used.size;
    out.tokens = tokens_(used.size);
    out.pixels.shape = {1, 3, used.size.height, used.size.width};
    out.pixels.data.reserve(used.rgb.size());
    for (size_t channel = 0; channel < 3; ++channel) {
      for (size_t i = channel; i < used.rgb.size(); i += 3) {
        out.pixels.data.push_back(scale_(static_cast<int>(channel), used.rgb[i]));
      }
    }
    return out;
  }

 private:
  Size target_size(Size size) const {
    if (shortest_edge_ == 0) return size_;
    const int shorter = std::min(size.width, size.height);
    const auto scaled = [&](int side) {
      return side == shorter ? shortest_edge_
                             : static_cast<int>(int64_t{shortest_edge_} * side / shorter);
    };
    const Size target = {scaled(size.width), scaled(size.height)};
    // A sliver would grow to billions of pixels of which the crop keeps a square.
    constexpr int64_t kTargetPixelsMax = int64_t{1} << 28;
    if (int64_t{target.width} * target.height > kTargetPixelsMax) {
      fail(ErrorKind::kTooLarge, "[picture] expected a less narrow picture but got {}x{}",
           size.width, size.height);
    }
    return target;
  }

  TokenCount tokens_;
  bool resize_;
  bool crop_;
  Filter filter_;
  PixelScale scale_;
  int shortest_edge_ = 0;  // 0: resize to size_
  Size size_;
  Size crop_size_;
};

}  // namespace

std::unique_ptr<ImageProcessor> make_clip_image_processor(const Json& config,
                                                          const Checkpoint& checkpoint) {
  return std::make_unique<SquareImageProcessor>(config, checkpoint,
                                                SquareImageProcessor::Kind::kClip);
}

std::unique_ptr<ImageProcessor> make_siglip_image_processor(const Json& config,
                                                            const Checkpoint& checkpoint) {
  return std::make_unique<SquareImageProcessor>(config, checkpoint,
                                                SquareImageProcessor::Kind::kSiglip);
}

}  // namespace fovea::processors

// CLIPImageProcessor and SiglipImageProcessor: one square of a fixed size. CLIP scales the shorter
// side and crops the centre (with black where the picture is too small), SigLIP stretches. Sources:
// Hugging Face image_processing_clip, image_processing_siglip. `pixels` is [1, channels, H, W].
#include <algorithm>
#include <cstdint>
#include <optional>

#include "base/error.h"
#include "core/limits.h"
#include "processors/image_processors.h"
#include "processors/pixel_scale.h"
#include "processors/resample.h"

namespace fovea::processors {
namespace {

// A size in a config: an object, one number, or absent.
Json size_at(const Json& config, const char* key) {
  const Json value = config[key];
  return value.is_null() || value.is_number() ? value : value.as_object();
}

// {"height", "width"} or one number for both; absent is `fallback` squared.
Size fixed_size(const Json& value, int fallback) {
  if (value.is_number()) return {value.as_int32(), value.as_int32()};
  return {value.get_int("width", fallback), value.get_int("height", fallback)};
}

// How many tokens a picture of this size takes in a prompt of llava, or of any family by a number.
class TokenCount {
 public:
  // A config that has image_seq_length says it outright.
  TokenCount(const Json& config, const Checkpoint& checkpoint) {
    fixed_ = config.get_int("image_seq_length", 0);
    if (fixed_ < 0 || fixed_ > kProcessorSideMax) {
      fail(ErrorKind::kInvalidData, "[{}] expected image_seq_length from 1 to {} but got {}",
           config.where(), kProcessorSideMax, fixed_);
    }
    const Json processor = checkpoint.read_json("processor_config.json");
    const Json vision = checkpoint.config["vision_config"];
    const bool clip = vision.get_string("model_type", "clip_vision_model") == "clip_vision_model";
    patch_ = processor.get_int("patch_size", vision.get_int("patch_size", 14));
    const std::string strategy = processor.get_string(
        "vision_feature_select_strategy",
        checkpoint.config.get_string("vision_feature_select_strategy", "default"));
    extra_ = processor["num_additional_image_tokens"].is_null()
                 ? (clip ? 1 : 0)
                 : processor["num_additional_image_tokens"].as_int();
    if (strategy == "default") --extra_;
    if (patch_ < 1) {
      fail(ErrorKind::kInvalidData,
           "[processor_config.json] expected a positive patch_size but got {}", patch_);
    }
    if (extra_ < -1 || extra_ > kProcessorSideMax) {
      fail(ErrorKind::kInvalidData,
           "[processor_config.json] expected num_additional_image_tokens from 0 to {} but got {}",
           kProcessorSideMax, processor["num_additional_image_tokens"].dump());
    }
  }
  int operator()(Size size) const {
    if (fixed_ > 0) return fixed_;
    return static_cast<int>((size.height / patch_) * (size.width / patch_) + extra_);
  }

 private:
  int fixed_ = 0;
  int patch_;
  int64_t extra_;
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
      : tokens_(config, checkpoint),
        resize_(config.get_bool("do_resize", true)),
        crop_(kind == Kind::kClip && config.get_bool("do_center_crop", true)),
        filter_(filter_from_number(config.get_int("resample", 3))),
        scale_(config, kind == Kind::kClip ? kClipMean : kHalf,
               kind == Kind::kClip ? kClipStd : kHalf) {
    const Json size = size_at(config, "size");
    if (kind == Kind::kClip && !size.contains("height")) {
      shortest_edge_ = size.is_number() ? size.as_int32() : size.get_int("shortest_edge", 224);
    } else {
      size_ = fixed_size(size, 224);
    }
    crop_size_ = fixed_size(size_at(config, "crop_size"), 224);
    const auto odd = [](int side) { return side < 1 || side > kProcessorSideMax; };
    const bool odd_size =
        shortest_edge_ ? odd(*shortest_edge_) : odd(size_.width) || odd(size_.height);
    if (odd_size || odd(crop_size_.width) || odd(crop_size_.height)) {
      fail(ErrorKind::kInvalidData, "[{}] expected sides from 1 to {} but got {} and {}",
           config.where(), kProcessorSideMax, size.dump(), config["crop_size"].dump());
    }
  }

  ProcessedImage process(const Image& image, const std::string& name) const override {
    Image used = resize_ ? resize(image, target_size(image.size, name), filter_) : image;
    if (crop_) used = centre(used, crop_size_);
    ProcessedImage out;
    out.used = used.size;
    out.tokens = tokens_(used.size);
    if (out.tokens < 1) {
      fail(ErrorKind::kInvalidData, "[picture] expected at least one patch in '{}' but got {}x{}",
           name, used.size.width, used.size.height);
    }
    out.pixels.shape = {1, 3, used.size.height, used.size.width};
    out.pixels.data.reserve(used.rgb.size());
    append_planes(used, 0, 0, used.size, scale_, out.pixels.data);
    return out;
  }

 private:
  Size target_size(Size size, const std::string& name) const {
    if (!shortest_edge_) return size_;
    const int shorter = std::min(size.width, size.height);
    const auto scaled = [&](int side) {
      return side == shorter ? *shortest_edge_ : int64_t{*shortest_edge_} * side / shorter;
    };
    const int64_t width = scaled(size.width);
    const int64_t height = scaled(size.height);
    // A sliver would grow to billions of pixels of which the crop keeps a square.
    if (width * height > kPicturePixelsMax) {
      fail(ErrorKind::kTooLarge,
           "[picture] expected a picture less narrow than '{}' but got {}x{}, at most {} pixels "
           "when its shorter side becomes {}",
           name, size.width, size.height, kPicturePixelsMax, *shortest_edge_);
    }
    return {static_cast<int>(width), static_cast<int>(height)};
  }

  TokenCount tokens_;
  bool resize_;
  bool crop_;
  Filter filter_;
  PixelScale scale_;
  std::optional<int> shortest_edge_;  // else resize to size_
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

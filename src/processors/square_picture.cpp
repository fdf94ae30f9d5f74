#include "processors/square_picture.h"

#include <algorithm>

#include "base/error.h"
#include "core/limits.h"
#include "processors/window.h"

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

// Pads with black, then crops, both around the centre.
Image centre(const Image& image, Size size) {
  const auto offset = [](int have, int want) {
    return have >= want ? (have - want) / 2 : -((want - have + 1) / 2);
  };
  return window(image, offset(image.size.width, size.width), offset(image.size.height, size.height),
                size);
}

}  // namespace

SquarePicture::SquarePicture(const Json& config, Kind kind)
    : resize_(config.get_bool("do_resize", true)),
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

Size SquarePicture::size() const {
  return shortest_edge_ ? Size{*shortest_edge_, *shortest_edge_} : size_;
}

Size SquarePicture::target_size(Size size, const std::string& name) const {
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

Image SquarePicture::fit(const Image& image, const std::string& name) const {
  Image used = resize_ ? resize(image, target_size(image.size, name), filter_) : image;
  return crop_ ? centre(used, crop_size_) : used;
}

void SquarePicture::append(const Image& image, HostTensor& pixels) const {
  append_planes(image, 0, 0, image.size, scale_, pixels.data);
}

SquareTokens::SquareTokens(const Json& config, const Checkpoint& checkpoint)
    : fixed_(config.get_int("image_seq_length", 0)) {
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

int SquareTokens::operator()(Size size) const {
  if (fixed_ > 0) return fixed_;
  return static_cast<int>((size.height / patch_) * (size.width / patch_) + extra_);
}

}  // namespace fovea::processors

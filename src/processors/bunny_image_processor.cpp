// The pictures of nanoLLaVA and Bunny: SigLIP's, stretched to the tower's square, or padded to a
// square with the mean colour first where config.json's image_aspect_ratio says "pad". Source:
// process_images of the checkpoints' modeling_llava_qwen2, checked against that of BAAI-DCAI/Bunny,
// bunny/util/mm_utils.py; mlx-vlm never pads. `pixels` is
// [1, channels, H, W].
#include <algorithm>

#include "base/error.h"
#include "core/limits.h"
#include "processors/image_processors.h"
#include "processors/square_picture.h"
#include "processors/window.h"

namespace fovea::processors {
namespace {

// The settings with the tower's size where they have none.
Json with_size(const Json& config, int size) {
  JsonObject object;
  for (const auto& key : config.keys()) object.set(key, config[key]);
  if (config["size"].is_null()) object.set("size", size);
  return object.freeze("preprocessor_config.json");
}

std::array<uint8_t, 3> mean_colour(const Json& config) {
  std::array<uint8_t, 3> colour = {127, 127, 127};
  if (config["image_mean"].is_null()) return colour;
  const auto mean = config["image_mean"].as_float_list();
  for (size_t i = 0; i < std::min<size_t>(3, mean.size()); ++i) {
    colour[i] = static_cast<uint8_t>(std::clamp(mean[i] * 255, 0.0f, 255.0f));
  }
  return colour;
}

class BunnyImageProcessor : public ImageProcessor {
 public:
  BunnyImageProcessor(const Json& config, const Checkpoint& checkpoint)
      : size_(checkpoint.config["vision_config"].get_int("image_size", 384)),
        square_(with_size(config, size_), SquarePicture::Kind::kSiglip),
        pads_(checkpoint.config.get_string("image_aspect_ratio", "") == "pad"),
        colour_(mean_colour(config)) {
    const int patch = checkpoint.config["vision_config"].get_int("patch_size", 14);
    if (patch < 1 || square_.size() != Size{size_, size_} || size_ < patch) {
      fail(ErrorKind::kInvalidData,
           "[{}] expected size of the tower's {} pixels, patches of {}, but got {}", config.where(),
           size_, patch, config["size"].dump());
    }
    tokens_ = (size_ / patch) * (size_ / patch);
  }

  ProcessedImage process(const Image& image, const std::string& name) const override {
    const Image used = square_.fit(pads_ ? padded(image, name) : image, name);
    require_takeable({.pixels = used.size.area(), .tokens = tokens_}, name);
    ProcessedImage out;
    out.used = used.size;
    out.tokens = tokens_;
    out.pixels.shape = {1, 3, used.size.height, used.size.width};
    square_.append(used, out.pixels);
    return out;
  }

 private:
  Image padded(const Image& image, const std::string& name) const {
    const int side = std::max(image.size.width, image.size.height);
    if (int64_t{side} * side > kPicturePixelsMax) {
      fail(ErrorKind::kTooLarge,
           "[picture] expected a picture less narrow than '{}' but got {}x{}, at most {} pixels "
           "when padded to a square",
           name, image.size.width, image.size.height, kPicturePixelsMax);
    }
    return window(image, -((side - image.size.width) / 2), -((side - image.size.height) / 2),
                  {side, side}, colour_);
  }

  int size_;
  SquarePicture square_;
  bool pads_;
  std::array<uint8_t, 3> colour_;
  int tokens_ = 0;
};

}  // namespace

std::unique_ptr<ImageProcessor> make_bunny_image_processor(const Json& config,
                                                           const Checkpoint& checkpoint) {
  return std::make_unique<BunnyImageProcessor>(config, checkpoint);
}

}  // namespace fovea::processors

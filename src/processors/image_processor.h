// From a decoded picture to what a vision tower takes. One implementation per Hugging Face
// image_processor_type, chosen from the checkpoint's settings by load_image_processor. Immutable;
// any thread may call.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>

#include "core/checkpoint.h"
#include "core/host_tensor.h"
#include "core/image.h"
#include "core/limits.h"

namespace fovea::processors {

// A family that tells a picture's parts in words gives `markup`: the text that stands for the
// picture in the rendered prompt, with the image token in it `tokens` times. Without, the image
// token is repeated.
struct ProcessedImage {
  HostTensor pixels;                        // family layout, see each implementation
  std::array<int, 3> grid_thw = {0, 0, 0};  // patches; zeros where the family has no grid
  std::array<int, 2> tiles = {0, 0};        // rows, columns; zeros where it is not cut
  int tokens = 0;                           // placeholders that the picture takes in the prompt
  std::string markup;                       // the text with them in it, or empty
  Size used;                                // pixels after resizing
};

// What a picture, or all frames of a video, will be, as its processor tells before it makes any of
// it.
struct PictureNeeds {
  int64_t pixels = 0;  // of all its squares or patches, each as often as it is held
  int64_t tokens = 0;
  int64_t markup_bytes = 0;
  int64_t pixels_max = kPicturePixelsMax;
};

// Throws Error(kTooLarge) with the picture's or the video's name beyond core/limits.h.
void require_takeable(const PictureNeeds& needs, const std::string& name);

class ImageProcessor {
 public:
  virtual ~ImageProcessor() = default;
  // `name` is what the user called the picture. Throws Error(kInvalidData | kTooLarge) with it for
  // a picture whose shape the family cannot take.
  virtual ProcessedImage process(const Image& image, const std::string& name) const = 0;

  // The same for one of many frames of a video, which a family may look at more coarsely.
  virtual ProcessedImage process_frame(const Image& image, const std::string& name) const {
    return process(image, name);
  }
};

// The settings are `image_processor` of processor_config.json, else preprocessor_config.json.
// Throws Error(kNotFound) for a checkpoint without either, Error(kUnsupported) for an unknown
// image_processor_type, Error(kInvalidData) for values that make no sense.
std::unique_ptr<ImageProcessor> load_image_processor(const Checkpoint& checkpoint);

}  // namespace fovea::processors

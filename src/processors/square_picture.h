// How CLIPImageProcessor and SiglipImageProcessor make one square of a fixed size: CLIP scales the
// shorter side and crops the centre (with black where the picture is too small), SigLIP stretches.
// Shared by the processors that cut a picture into such squares. Sources: Hugging Face
// image_processing_clip, image_processing_siglip. Immutable; any thread may call.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "core/checkpoint.h"
#include "core/host_tensor.h"
#include "core/image.h"
#include "processors/pixel_scale.h"
#include "processors/resample.h"

namespace fovea::processors {

class SquarePicture {
 public:
  enum class Kind { kClip, kSiglip };

  // Throws Error(kInvalidData) for sizes out of range.
  SquarePicture(const Json& config, Kind kind);

  // Resized and cropped as the config says. `name` is for messages: Error(kTooLarge) where a sliver
  // would grow beyond any use.
  Image fit(const Image& image, const std::string& name) const;

  // Appends [channels, H, W] of rescaled, normalised values.
  void append(const Image& image, HostTensor& pixels) const;

  // {height, width}, or the shorter edge squared.
  Size size() const;
  Size crop_size() const { return crop_size_; }
  Filter filter() const { return filter_; }

 private:
  Size target_size(Size size, const std::string& name) const;

  bool resize_;
  bool crop_;
  Filter filter_;
  PixelScale scale_;
  std::optional<int> shortest_edge_;  // else resize to size_
  Size size_;
  Size crop_size_;
};

// How many tokens such a square takes in a prompt of llava, as processor_config.json and
// config.json say, or of any family whose preprocessor_config.json has image_seq_length, which says
// it outright.
class SquareTokens {
 public:
  SquareTokens(const Json& config, const Checkpoint& checkpoint);
  int operator()(Size size) const;
  int patch_size() const { return patch_; }

 private:
  int fixed_;  // image_seq_length, or 0
  int patch_;
  int64_t extra_;
};

}  // namespace fovea::processors

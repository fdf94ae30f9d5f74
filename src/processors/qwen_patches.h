// How Qwen-VL's processors of pictures and videos cut frames into patches: their settings, their
// sizes, and the order in which merge x merge neighbours stand together. Source: Hugging Face
// image_processing_qwen2_vl. Immutable; any thread may call.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/json.h"
#include "core/image.h"
#include "processors/pixel_scale.h"
#include "processors/resample.h"

namespace fovea::processors {

// Pixels of a picture, or of all frames of a video, after resizing.
struct PixelBudget {
  int64_t min = 0;
  int64_t max = 0;
};

class QwenPatches {
 public:
  // What the config leaves out of sizes is the arguments'. Throws Error(kInvalidData) for values
  // that make no sense.
  QwenPatches(const Json& config, int patch_size, PixelBudget budget);

  int patch() const { return patch_; }
  int temporal() const { return temporal_; }
  int merge() const { return merge_; }
  int factor() const { return patch_ * merge_; }
  PixelBudget budget() const { return budget_; }

  // Sides in multiples of factor() that keep the shape, such that `frames` frames (counted as
  // `padded`) fit the budget. Throws Error(kInvalidData) for a shape beyond 1:200.
  Size target_size(Size size, const PixelBudget& budget, int frames, int padded,
                   const std::string& name) const;

  // The picture in that size, or as it is where the config says so; Error(kInvalidData) where its
  // sides are no multiples of factor() then.
  Image resized(const Image& image, Size target, const std::string& name) const;

  // How many values `temporal` frames of this size are.
  size_t group_values(Size size) const;

  // Puts a frame into the planes [plane, plane + planes) of a group: [patches, channels, temporal,
  // patch, patch].
  void put(const Image& frame, int plane, int planes, float* group) const;

 private:
  void put_patch(const Image& image, int row, int column, int channel, int plane, int planes,
                 float* patch) const;

  int patch_;
  int temporal_;
  int merge_;
  PixelBudget budget_;
  bool resize_;
  Filter filter_;
  PixelScale scale_;
};

}  // namespace fovea::processors

// Qwen2VLImageProcessor: the picture keeps its shape, its sides become multiples of patch * merge
// within a pixel budget, and patches are laid out so that merge x merge neighbours stand together.
// Source: Hugging Face image_processing_qwen2_vl. `pixels` is
// [h * w, channels * temporal_patch_size * patch_size^2].
#include "processors/image_processors.h"
#include "processors/qwen_patches.h"

namespace fovea::processors {
namespace {

constexpr PixelBudget kBudget = {56 * 56, 28 * 28 * 1280};

class Qwen2VlImageProcessor : public ImageProcessor {
 public:
  explicit Qwen2VlImageProcessor(const Json& config) : patches_(config, 14, kBudget) {}

  // A still picture fills every temporal plane.
  ProcessedImage process(const Image& image, const std::string& name) const override {
    ProcessedImage out;
    const Size target = patches_.target_size(image.size, patches_.budget(), 1, 1, name);
    const Image used = patches_.resized(image, target, name);
    const int64_t factor = patches_.factor();
    require_takeable({.pixels = static_cast<int64_t>(patches_.group_values(used.size) / 3),
                      .tokens = used.size.area() / (factor * factor)},
                     name);
    out.used = used.size;
    const int rows = used.size.height / patches_.patch();
    const int columns = used.size.width / patches_.patch();
    out.grid_thw = {1, rows, columns};
    out.tokens = rows * columns / (patches_.merge() * patches_.merge());
    out.pixels.data.resize(patches_.group_values(used.size));
    out.pixels.shape = {rows * columns,
                        3 * patches_.temporal() * patches_.patch() * patches_.patch()};
    patches_.put(used, 0, patches_.temporal(), out.pixels.data.data());
    return out;
  }

 private:
  QwenPatches patches_;
};

}  // namespace

std::unique_ptr<ImageProcessor> make_qwen2_vl_image_processor(const Json& config,
                                                              const Checkpoint&) {
  return std::make_unique<Qwen2VlImageProcessor>(config);
}

}  // namespace fovea::processors

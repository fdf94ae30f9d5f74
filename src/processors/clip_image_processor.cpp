// CLIPImageProcessor and SiglipImageProcessor: one square of a fixed size. `pixels` is
// [1, channels, H, W].
#include "base/error.h"
#include "processors/image_processors.h"
#include "processors/square_picture.h"

namespace fovea::processors {
namespace {

class SquareImageProcessor : public ImageProcessor {
 public:
  SquareImageProcessor(const Json& config, const Checkpoint& checkpoint, SquarePicture::Kind kind)
      : square_(config, kind), tokens_(config, checkpoint) {}

  ProcessedImage process(const Image& image, const std::string& name) const override {
    const Image used = square_.fit(image, name);
    ProcessedImage out;
    out.used = used.size;
    require_takeable({.pixels = used.size.area(), .tokens = tokens_(used.size)}, name);
    out.tokens = tokens_(used.size);
    if (out.tokens < 1) {
      fail(ErrorKind::kInvalidData, "[picture] expected at least one patch in '{}' but got {}x{}",
           name, used.size.width, used.size.height);
    }
    out.pixels.shape = {1, 3, used.size.height, used.size.width};
    square_.append(used, out.pixels);
    return out;
  }

 private:
  SquarePicture square_;
  SquareTokens tokens_;
};

}  // namespace

std::unique_ptr<ImageProcessor> make_clip_image_processor(const Json& config,
                                                          const Checkpoint& checkpoint) {
  return std::make_unique<SquareImageProcessor>(config, checkpoint, SquarePicture::Kind::kClip);
}

std::unique_ptr<ImageProcessor> make_siglip_image_processor(const Json& config,
                                                            const Checkpoint& checkpoint) {
  return std::make_unique<SquareImageProcessor>(config, checkpoint, SquarePicture::Kind::kSiglip);
}

}  // namespace fovea::processors

// LLaVA 1.5. Sources: arXiv:2310.03744, Hugging Face modeling_llava, mlx_vlm/models/llava. The
// towers' activation follows vision_config.hidden_act as in Hugging Face; mlx-vlm always takes
// quick_gelu.
#include "models/families.h"
#include "models/llava_model.h"

namespace fovea::models {
namespace {

class Llava : public LlavaModel {
 public:
  explicit Llava(const Checkpoint& checkpoint) : LlavaModel(checkpoint) {}

  mx::array encode_media(const MediaSpan& span) const override { return project(span.pixels); }
};

}  // namespace

std::unique_ptr<Model> make_llava(const Checkpoint& checkpoint) {
  return std::make_unique<Llava>(checkpoint);
}

}  // namespace fovea::models

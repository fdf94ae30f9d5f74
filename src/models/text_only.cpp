// llama, qwen2 and mistral without a vision tower.
#include "base/error.h"
#include "models/decoder_model.h"
#include "models/families.h"
#include "models/names.h"
#include "nn/weights.h"

namespace fovea::models {
namespace {

class TextOnly : public DecoderModel {
 public:
  explicit TextOnly(const Checkpoint& checkpoint)
      : DecoderModel(checkpoint,
                     text::read_decoder_config(checkpoint.config, checkpoint.model_type(), false),
                     checkpoint.config) {}

  mx::array encode_media(const MediaSpan&) const override {
    fail(ErrorKind::kUnsupported, "[model] expected text only because '{}' takes no pictures",
         info_.model_type);
  }
  void prepare_weights(nn::Weights& weights) const override {
    weights.rename(drop_unused([](const std::string& name) { return name; }, info_.tied_lm_head));
  }
  void visit(nn::Visitor& visitor) override { decoder_.visit(visitor); }
};

}  // namespace

std::unique_ptr<Model> make_text_only(const Checkpoint& checkpoint) {
  return std::make_unique<TextOnly>(checkpoint);
}

}  // namespace fovea::models

// llama, qwen2 and mistral without a vision tower.
#include "base/error.h"
#include "models/decoder_model.h"
#include "models/families.h"

namespace fovea::models {
namespace {

class TextOnly : public DecoderModel {
 public:
  explicit TextOnly(const Checkpoint& checkpoint)
      : DecoderModel(checkpoint, text_only_decoder_config(checkpoint)) {}

  mx::array encode_media(const MediaSpan&) const override {
    fail(ErrorKind::kUnsupported, "[model] expected text only because '{}' takes no pictures",
         info_.model_type);
  }
  void visit(nn::Visitor& visitor) override { decoder_.visit(visitor); }

 protected:
  WeightNames weight_names() const override {
    return {[](const std::string& name) { return name; }, ""};
  }
};

}  // namespace

text::DecoderConfig text_only_decoder_config(const Checkpoint& checkpoint) {
  return text::read_decoder_config(checkpoint.config,
                                   text::decoder_type(checkpoint.model_type(), "model_type"));
}

std::unique_ptr<Model> make_text_only(const Checkpoint& checkpoint) {
  return std::make_unique<TextOnly>(checkpoint);
}

}  // namespace fovea::models

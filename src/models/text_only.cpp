// llama, qwen2 and mistral without a vision tower.
#include "base/error.h"
#include "models/families.h"
#include "models/names.h"
#include "models/text/decoder.h"
#include "nn/weights.h"

namespace fovea::models {
namespace {

class TextOnly : public Model {
 public:
  explicit TextOnly(const Checkpoint& checkpoint)
      : decoder_(text::read_decoder_config(checkpoint.config, checkpoint.model_type(), false),
                 checkpoint.config),
        info_(decoder_info(checkpoint, decoder_)) {}

  const ModelInfo& info() const override { return info_; }

  mx::array encode_media(const MediaSpan&) const override {
    fail(ErrorKind::kUnsupported, "[model] expected text only because '{}' takes no pictures",
         info_.model_type);
  }
  mx::array embed_tokens(std::span<const int32_t> tokens) const override {
    return decoder_.embed_tokens(tokens);
  }
  Positions position_ids(const Prompt& prompt) const override {
    return consecutive_positions(static_cast<int>(prompt.tokens.size()), 1);
  }
  mx::array forward(const Batch& batch, nn::KvCache& cache, const StageSink& sink) const override {
    return decoder_.forward(batch, cache, sink);
  }
  void visit(nn::Visitor& visitor) override { decoder_.visit(visitor); }

 private:
  text::Decoder decoder_;
  ModelInfo info_;
};

}  // namespace

std::unique_ptr<Model> make_text_only(const Checkpoint& checkpoint) {
  auto model = std::make_unique<TextOnly>(checkpoint);
  auto weights = nn::Weights::open(checkpoint);
  weights.rename(
      drop_unused([](const std::string& name) { return name; }, model->info().tied_lm_head));
  weights.load_into(*model);
  return model;
}

}  // namespace fovea::models

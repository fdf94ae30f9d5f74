// Qwen2-VL: its own vision tower, a qwen2 decoder with M-RoPE in sections.
// Sources: arXiv:2409.12191, Hugging Face modeling_qwen2_vl, mlx_vlm/models/qwen2_vl.
//
// Legend: L prompt length, N tokens of one picture, D hidden size.
#include <algorithm>

#include "base/error.h"
#include "mlx/ops.h"
#include "models/config.h"
#include "models/decoder_model.h"
#include "models/families.h"
#include "models/vision/qwen2_vl_tower.h"

namespace fovea::models {
namespace {

// What Hugging Face's Qwen2VLTextConfig says where config.json is silent (text/decoder.h).
constexpr text::DecoderType kDecoder = {
    .model_type = "qwen2_vl",
    .qkv_bias = true,
    .sliding = text::Sliding::kWhenTold,
    .vocab_size = 152064,
    .hidden_size = 8192,
    .intermediate_size = 29568,
    .num_hidden_layers = 80,
    .num_attention_heads = 64,
    .num_key_value_heads = 8,
    .max_position_embeddings = 32768,
    .rms_norm_eps = 1e-5f,
    .rope_theta = 1e6,
    .sliding_window = 4096,
    .max_window_layers = 80,
};

// Text settings stand at the root in released checkpoints, in text_config in newer ones, in both in
// some.
Json text_config(const Json& config) {
  const Json nested = config["text_config"];
  const bool at_root = config.contains("hidden_size") && !nested.contains("hidden_size");
  return nested.is_object() && !at_root ? nested : config;
}

// Released (visual., model., lm_head.), newer (model.visual., model.language_model.) and MLX names.
std::string module_path(const std::string& name) {
  return replace_prefix(name, {{"visual.", "vision_tower."},
                               {"model.visual.", "vision_tower."},
                               {"model.language_model.", "language_model.model."},
                               {"model.", "language_model.model."},
                               {"lm_head.", "language_model.lm_head."}});
}

class Qwen2Vl : public DecoderModel {
 public:
  explicit Qwen2Vl(const Checkpoint& checkpoint)
      : DecoderModel(checkpoint, qwen2_vl_decoder_config(checkpoint)),
        tower_(vision::read_qwen2_vl_tower_config(checkpoint.config["vision_config"])) {
    if (tower_.config().hidden_size != decoder_.config().hidden_size) {
      fail(ErrorKind::kInvalidData,
           "[config.json] expected vision_config.hidden_size {} as the decoder's but got {}",
           decoder_.config().hidden_size, tower_.config().hidden_size);
    }
  }

  mx::array encode_media(const MediaSpan& span) const override {
    return tower_.forward(span.pixels, span.grid_thw);
  }

  // Text advances all three axes by one; a picture's tokens share the time of its start, count rows
  // and columns from it, and what follows begins after the largest of them.
  Positions position_ids(const Prompt& prompt) const override {
    const auto length = static_cast<int>(prompt.tokens.size());
    std::vector<int> ids(static_cast<size_t>(3) * length);
    int next = 0;
    int at = 0;
    const auto put = [&](int t, int h, int w) {
      ids[at] = t;
      ids[length + at] = h;
      ids[2 * length + at] = w;
      ++at;
    };
    const auto text_until = [&](int end) {
      for (; at < end; ++next) put(next, next, next);
    };
    const int m = tower_.config().spatial_merge_size;
    for (const auto& span : prompt.media) {
      text_until(span.begin);
      const auto [t, h, w] = span.grid_thw;
      const int columns = std::max(1, w / m);
      const int frame = std::max(1, h / m * columns);
      for (int i = 0; i < span.count; ++i) {
        put(next + i / frame, next + i % frame / columns, next + i % columns);
      }
      next += std::max({t, h / m, w / m});
    }
    text_until(length);
    return {mx::array(ids.data(), {3, length}, mx::int32), next - length};
  }

  void visit(nn::Visitor& visitor) override {
    visitor.child("vision_tower", tower_);
    visitor.child("language_model", decoder_);
  }

 protected:
  WeightNames weight_names() const override {
    return {module_path, "language_model.", "vision_tower.patch_embed.proj",
            tower_.config().in_channels};
  }

 private:
  vision::Qwen2VlTower tower_;
};

}  // namespace

text::DecoderConfig qwen2_vl_decoder_config(const Checkpoint& checkpoint) {
  const Json text = text_config(checkpoint.config);
  auto config = text::read_decoder_config(text, kDecoder);
  if (config.rope.axes() != 3) {
    fail(ErrorKind::kInvalidData,
         "[{}] expected a list at 'rope_scaling.mrope_section' but there is none", text.where());
  }
  config.tie_word_embeddings = tie_word_embeddings(checkpoint.config);
  return config;
}

std::unique_ptr<Model> make_qwen2_vl(const Checkpoint& checkpoint) {
  return std::make_unique<Qwen2Vl>(checkpoint);
}

}  // namespace fovea::models

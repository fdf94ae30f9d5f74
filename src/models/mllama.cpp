// Llama 3.2 Vision: a llama decoder of which some layers look at a tower's states of the pictures'
// tiles through cross-attention. A picture takes one token, which keeps an embedding of its own;
// which pictures a row sees follows from where these tokens stand. Sources: Hugging Face
// modeling_mllama and processing_mllama; for the tower vision/mllama_tower.h.
#include "base/error.h"
#include "mlx/ops.h"
#include "models/config.h"
#include "models/decoder_model.h"
#include "models/families.h"
#include "models/vision/mllama_tower.h"

namespace fovea::models {
namespace {

constexpr text::DecoderType kDecoder = {.model_type = "mllama_text_model",
                                        .qkv_bias = false,
                                        .sliding = text::Sliding::kNone,
                                        .vocab_size = 128256,
                                        .hidden_size = 4096,
                                        .intermediate_size = 14336,
                                        .num_hidden_layers = 40,
                                        .num_attention_heads = 32,
                                        .num_key_value_heads = 8,
                                        .max_position_embeddings = 131072,
                                        .rms_norm_eps = 1e-5f,
                                        .rope_theta = 5e5,
                                        .sliding_window = 0,
                                        .max_window_layers = 0};
// Of the table, for the picture's token and seven that nobody has named.
constexpr int kExtraTokens = 8;

std::vector<bool> read_cross_layers(const Json& text, int layers) {
  const Json list = text["cross_attention_layers"];
  const auto indices =
      list.is_null() ? std::vector<int>{3, 8, 13, 18, 23, 28, 33, 38} : list.as_int_list();
  std::vector<bool> across(static_cast<size_t>(layers), false);
  for (const int i : indices) {
    if (i < 0 || i >= layers) {
      fail(ErrorKind::kInvalidData, "[{}] expected 'cross_attention_layers' below {} but got {}",
           text.where(), layers, i);
    }
    across[static_cast<size_t>(i)] = true;
  }
  return across;
}

std::string module_path(const std::string& name) {
  return replace_prefix(name, {{"model.language_model.", "language_model.model."},
                               {"model.vision_model.", "vision_tower."},
                               {"model.multi_modal_projector.", "multi_modal_projector."},
                               {"vision_model.", "vision_tower."},
                               {"lm_head.", "language_model.lm_head."}});
}

class Mllama : public DecoderModel {
 public:
  explicit Mllama(const Checkpoint& checkpoint)
      : DecoderModel(checkpoint, mllama_decoder_config(checkpoint)),
        tower_(
            vision::read_mllama_tower_config(checkpoint.config.optional_object("vision_config"))),
        projector_(tower_.config().vision_output_dim(), decoder_.config().hidden_size,
                   nn::Linear::Bias::kPresent) {}

  // Tile by tile, those that the picture does not fill last.
  mx::array encode_media(const MediaSpan& span) const override {
    return projector_(tower_.encode(span.pixels, span.tiles));
  }

  int media_states(const MediaSpan&) const override { return tower_.config().rows(); }

  // The pictures' own tiles stand one behind the other, so that what a row sees is one run.
  void keep_states(const Prompt& prompt, const std::vector<mx::array>& features, int sequence,
                   nn::KvCache& cache) const override {
    if (prompt.media.empty()) return;
    std::vector<mx::array> own;
    std::vector<mx::array> others;
    std::vector<int> ends = {0};  // of the pictures' own states
    for (size_t i = 0; i < features.size(); ++i) {
      const auto& [rows, columns] = prompt.media[i].tiles;
      const int filled = rows * columns * tower_.config().rows_per_tile();
      const auto all = mx::split(features[i], mx::Shape{filled}, 0);
      own.push_back(all[0]);
      others.push_back(all[1]);
      ends.push_back(ends.back() + filled);
    }
    own.insert(own.end(), others.begin(), others.end());
    const auto states_SD = mx::concatenate(own, 0);
    cache.set_views(sequence, views(prompt, ends, states_SD.shape(0)));
    decoder_.keep_states(states_SD, sequence, cache);
  }

  // Keys and values of cross-attention are of pictures alone too.
  bool is_media_weight(const std::string& name) const override {
    const bool keeps = name.find(".cross_attn.k_") != std::string::npos ||
                       name.find(".cross_attn.v_") != std::string::npos;
    return keeps || DecoderModel::is_media_weight(name);
  }

  void visit(nn::Visitor& visitor) override {
    visitor.child("vision_tower", tower_);
    visitor.child("multi_modal_projector", projector_);
    visitor.child("language_model", decoder_);
  }

 protected:
  WeightNames weight_names() const override {
    return {module_path, "language_model.", "vision_tower.patch_embedding",
            tower_.config().num_channels};
  }

 private:
  // A row sees the picture before it, and those whose tokens stand right before that one's. Rows
  // before the first picture are blind: they see all there is, tiles without pixels too.
  static std::vector<nn::MediaView> views(const Prompt& prompt, const std::vector<int>& ends,
                                          int states) {
    std::vector<nn::MediaView> views;
    if (prompt.media[0].begin > 0) views.push_back({0, {0, states}, true});
    size_t first = 0;  // of the pictures that stand together
    for (size_t i = 0; i < prompt.media.size(); ++i) {
      const int at = prompt.media[i].begin;
      if (i > 0 && prompt.media[i - 1].begin + 1 != at) first = i;
      views.push_back({at, {ends[first], ends[i + 1] - ends[first]}, false});
    }
    return views;
  }

  vision::MllamaTower tower_;
  nn::Linear projector_;
};

}  // namespace

text::DecoderConfig mllama_decoder_config(const Checkpoint& checkpoint) {
  const Json text = checkpoint.config.optional_object("text_config");
  auto config = text::read_decoder_config(checkpoint.config, text, kDecoder);
  config.tie_word_embeddings = false;  // the table has more rows than the head
  config.extra_tokens = kExtraTokens;
  config.across = read_cross_layers(text, config.num_hidden_layers);
  return config;
}

std::unique_ptr<Model> make_mllama(const Checkpoint& checkpoint) {
  return std::make_unique<Mllama>(checkpoint);
}

}  // namespace fovea::models

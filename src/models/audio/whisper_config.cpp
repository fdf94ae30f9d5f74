#include "models/audio/whisper_config.h"

#include "models/config.h"

namespace fovea::models::audio {
namespace {

constexpr int kMelsMax = 1024;
constexpr int kPositionsMax = 1 << 16;

WhisperConfig read_mlx_config(const Json& config) {
  WhisperConfig c;
  c.vocab_size = optional_size(config, "n_vocab", 51865);
  c.num_mel_bins = optional_size(config, "n_mels", 80, kMelsMax);
  c.d_model = optional_size(config, "n_audio_state", 384);
  c.encoder_layers = optional_size(config, "n_audio_layer", 4, kLayersMax);
  c.encoder_attention_heads = optional_size(config, "n_audio_head", 6);
  c.decoder_layers = optional_size(config, "n_text_layer", 4, kLayersMax);
  c.decoder_attention_heads = optional_size(config, "n_text_head", 6);
  c.max_source_positions = optional_size(config, "n_audio_ctx", 1500, kPositionsMax);
  c.max_target_positions = optional_size(config, "n_text_ctx", 448, kPositionsMax);
  const int text = optional_size(config, "n_text_state", c.d_model);
  if (text != c.d_model) {
    fail(ErrorKind::kUnsupported,
         "[{}] expected 'n_text_state' to be 'n_audio_state', {}, but got {}", config.where(),
         c.d_model, text);
  }
  c.encoder_ffn_dim = c.decoder_ffn_dim = product_size(config, "a hidden layer", {4, c.d_model});
  return c;
}

}  // namespace

WhisperConfig read_whisper_config(const Json& config) {
  WhisperConfig c;
  const bool mlx = config.contains("n_audio_state");
  if (mlx) {
    c = read_mlx_config(config);
  } else {
    c.vocab_size = optional_size(config, "vocab_size", 51865);
    c.num_mel_bins = optional_size(config, "num_mel_bins", 80, kMelsMax);
    c.d_model = optional_size(config, "d_model", 384);
    c.encoder_layers = optional_size(config, "encoder_layers", 4, kLayersMax);
    c.encoder_attention_heads = optional_size(config, "encoder_attention_heads", 6);
    c.encoder_ffn_dim = optional_size(config, "encoder_ffn_dim", 1536);
    c.decoder_layers = optional_size(config, "decoder_layers", 4, kLayersMax);
    c.decoder_attention_heads = optional_size(config, "decoder_attention_heads", 6);
    c.decoder_ffn_dim = optional_size(config, "decoder_ffn_dim", 1536);
    c.max_source_positions = optional_size(config, "max_source_positions", 1500, kPositionsMax);
    c.max_target_positions = optional_size(config, "max_target_positions", 448, kPositionsMax);
  }
  const std::string width = mlx ? "n_audio_state" : "d_model";
  require_multiple(config, width, c.d_model, mlx ? "n_audio_head" : "encoder_attention_heads",
                   c.encoder_attention_heads);
  require_multiple(config, width, c.d_model, mlx ? "n_text_head" : "decoder_attention_heads",
                   c.decoder_attention_heads);
  return c;
}

}  // namespace fovea::models::audio

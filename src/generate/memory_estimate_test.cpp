// Estimates against what bench/run estimate measured.
#include "generate/memory_estimate.h"

#include <gtest/gtest.h>

namespace fovea::generate {
namespace {

// InternVL 2.5 1B with a picture of 13 tiles, of which the tower takes one at a time: it had 0.84
// GB beyond what the process held before.
TEST(MemoryEstimate, TilesPassATowerOneAfterAnother) {
  const Json config = Json::parse(R"({
    "model_type": "internvl_chat", "downsample_ratio": 0.5, "select_layer": -1,
    "llm_config": {"architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2",
      "hidden_size": 896, "intermediate_size": 4864, "num_hidden_layers": 2,
      "num_attention_heads": 14, "num_key_value_heads": 2, "vocab_size": 1000,
      "max_position_embeddings": 32768, "rms_norm_eps": 1e-06},
    "vision_config": {"model_type": "intern_vit_6b", "hidden_size": 1024,
      "intermediate_size": 4096, "num_hidden_layers": 2, "num_attention_heads": 16,
      "image_size": 448, "patch_size": 14, "norm_type": "layer_norm", "qkv_bias": true}})",
                                  "config.json");
  const auto model = models::build_model({"x", "", config, {}});
  Prompt prompt;
  prompt.tokens.resize(13 * 256);
  MediaSpan span;
  span.count = 13 * 256;
  span.pixels.shape = {13, 3, 448, 448};
  span.pixels.data.resize(size_t{13} * 3 * 448 * 448);
  prompt.media.push_back(std::move(span));
  const auto estimate = estimate_memory(*model, {32768, 1000, 2 * 2 * 64}, prompt, {1, 2048, 0});
  constexpr double kMeasured = 0.842e9;
  EXPECT_NEAR(static_cast<double>(estimate.vision) / kMeasured, 1, 0.1);
}

}  // namespace
}  // namespace fovea::generate

// config.json of released checkpoints, a family after the other.
#include <gtest/gtest.h>

#include "models/families.h"
#include "models/vision/vit.h"
#include "support/expect_error.h"

namespace fovea::models {
namespace {

Checkpoint checkpoint_of(const std::string& config, const std::string& generation = "{}") {
  return {"here", "", Json::parse(config, "config.json"),
          Json::parse(generation, "generation_config.json")};
}

constexpr const char* kSmolVlm256M = R"({
  "architectures": ["Idefics3ForConditionalGeneration"], "image_token_id": 49190,
  "model_type": "idefics3", "scale_factor": 4,
  "text_config": {"_flash_attn_2_enabled": true, "architectures": ["VLlama3ForCausalLM"],
    "head_dim": 64, "hidden_size": 576, "intermediate_size": 1536, "is_llama_config": true,
    "max_position_embeddings": 8192, "model_type": "llama", "neftune_noise_alpha": 0.0,
    "num_attention_heads": 9, "num_hidden_layers": 30, "num_key_value_heads": 3,
    "pad_token_id": 2, "pixel_shuffle_factor": 4, "qk_layer_norms": false,
    "rms_norm_eps": 1e-05, "rope_interleaved": false, "rope_scaling": null, "rope_theta": 100000,
    "torch_dtype": "bfloat16", "use_cache": true, "use_resampler": false, "vocab_size": 49280},
  "tie_word_embeddings": false, "torch_dtype": "bfloat16", "use_cache": true,
  "vision_config": {"hidden_size": 768, "image_size": 512,
    "max_image_size": {"longest_edge": 512}, "model_type": "idefics3",
    "num_attention_heads": 12, "patch_size": 16, "size": {"longest_edge": 2048},
    "tie_word_embeddings": false, "use_base_siglip": false},
  "vocab_size": 49280})";

TEST(ReleasedConfigs, SmolVlm256M) {
  const auto checkpoint = checkpoint_of(kSmolVlm256M, R"({"eos_token_id": 49279})");
  const auto text = idefics3_decoder_config(checkpoint);
  EXPECT_EQ(text.hidden_size, 576);
  EXPECT_EQ(text.num_hidden_layers, 30);
  EXPECT_EQ(text.attention.num_key_value_heads, 3);
  EXPECT_EQ(text.attention.head_dim, 64);
  EXPECT_EQ(text.tie_word_embeddings, false);
  const auto tower = vision::read_vit_config(checkpoint.config["vision_config"]);
  EXPECT_EQ(tower.intermediate_size, 3072);
  EXPECT_EQ(tower.num_hidden_layers, 12);
  EXPECT_FLOAT_EQ(tower.layer_norm_eps, 1e-6f);
  EXPECT_EQ(tower.hidden_act, kernels::Gelu::kTanh);
  EXPECT_FALSE(tower.has_class_row);
  const auto model = build_model(checkpoint);
  EXPECT_EQ(model->info().context_length, 8192);
  EXPECT_EQ(model->info().eos_token_ids, std::vector<int32_t>({49279}));
}

TEST(ReleasedConfigs, Idefics3Of8B) {
  const auto checkpoint = checkpoint_of(R"({
    "architectures": ["Idefics3ForConditionalGeneration"], "image_token_id": 128257,
    "model_type": "idefics3", "scale_factor": 2, "tie_word_embeddings": false,
    "text_config": {"architectures": ["VLlama3ForCausalLM"], "bos_token_id": 128000,
      "eos_token_id": [128001, 128008, 128009], "hidden_size": 4096, "intermediate_size": 14336,
      "max_position_embeddings": 131072, "model_type": "llama", "num_key_value_heads": 8,
      "pad_token_id": 128002, "rms_norm_eps": 1e-05,
      "rope_scaling": {"factor": 8.0, "high_freq_factor": 4.0, "low_freq_factor": 1.0,
        "original_max_position_embeddings": 8192, "rope_type": "llama3"},
      "rope_theta": 500000.0, "torch_dtype": "bfloat16", "vocab_size": 128259},
    "vision_config": {"hidden_size": 1152, "image_size": 364, "intermediate_size": 4304,
      "max_image_size": {"longest_edge": 364}, "model_type": "idefics3",
      "num_attention_heads": 16, "num_hidden_layers": 27, "patch_size": 14,
      "size": {"longest_edge": 1820}, "use_base_siglip": true},
    "vocab_size": 128259})");
  const auto text = idefics3_decoder_config(checkpoint);
  EXPECT_EQ(text.num_hidden_layers, 32);
  EXPECT_EQ(text.attention.num_attention_heads, 32);
  EXPECT_EQ(text.attention.head_dim, 128);
  EXPECT_EQ(build_model(checkpoint)->info().eos_token_ids,
            std::vector<int32_t>({128001, 128008, 128009}));
}

TEST(ReleasedConfigs, SmolVlm2Of500M) {
  const auto checkpoint = checkpoint_of(R"({
    "architectures": ["SmolVLMForConditionalGeneration"], "image_token_id": 49190,
    "model_type": "smolvlm", "pad_token_id": 128002, "scale_factor": 4,
    "text_config": {"architectures": ["VLlama3ForCausalLM"], "head_dim": 64, "hidden_size": 960,
      "intermediate_size": 2560, "max_position_embeddings": 8192, "model_type": "llama",
      "num_attention_heads": 15, "num_hidden_layers": 32, "num_key_value_heads": 5,
      "pad_token_id": 2, "rms_norm_eps": 1e-05, "rope_theta": 100000, "vocab_size": 49280},
    "tie_word_embeddings": false,
    "vision_config": {"hidden_size": 768, "image_size": 512,
      "max_image_size": {"longest_edge": 512}, "model_type": "smolvlm_vision",
      "num_attention_heads": 12, "patch_size": 16, "size": {"longest_edge": 2048},
      "use_base_siglip": false},
    "vocab_size": 49280})");
  EXPECT_EQ(idefics3_decoder_config(checkpoint).attention.num_key_value_heads, 5);
  EXPECT_EQ(build_model(checkpoint)->info().num_layers, 32);
}

TEST(ReleasedConfigs, Idefics3WithAnOddScaleIsRefused) {
  std::string config = kSmolVlm256M;
  const std::string scale = "\"scale_factor\": 4";
  config.replace(config.find(scale), scale.size(), "\"scale_factor\": 5");
  EXPECT_ERROR(build_model(checkpoint_of(config)), ErrorKind::kInvalidData,
               "expected 'scale_factor' to divide the 32 patches of a tile's side but got 5");
}

}  // namespace
}  // namespace fovea::models

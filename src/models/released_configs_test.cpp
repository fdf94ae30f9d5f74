// config.json of released checkpoints, a family after the other. Checked against public copies:
// SmolVLM2-500M (qewr1234/Lightweight-VLA, tests/offline_vlm_cache.py); Gemma 3, PaliGemma and
// PaliGemma 2 (huggingface/transformers, the scripts convert_gemma3_weights.py,
// convert_paligemma_weights_to_hf.py and convert_paligemma2_weights_to_hf.py, whose vocabularies
// grow by 64 rows for pictures). Qwen3-VL's agrees with one of the 4B in tests of others, but for
// sizes. SmolVLM-256M's agrees with a table of its keys and tensors made at revision 7e3e67ed by a
// Java port ("Phase 7.3a reference findings"); Qwen2.5-VL-3B's key by key with the defaults of
// QwenvlWithExpertConfig, a policy for robots around that checkpoint; the mixture's sizes, but for
// the number of layers, with the defaults of Huawei's hyper_parallel (models/qwen3_vl_moe). No copy
// was found of Idefics3's: that is written from memory.
#include <gtest/gtest.h>

#include <cmath>

#include "mlx/ops.h"
#include "models/families.h"
#include "models/vision/mllama_tower.h"
#include "models/vision/qwen2_vl_tower.h"
#include "models/vision/qwen3_vl_tower.h"
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
    "tie_word_embeddings": false, "use_base_siglip": true},
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
  // None of these ends its turns: <end_of_utterance> does, token 128258, which the family's format
  // names.
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

constexpr const char* kLlama32Vision11B = R"({
  "architectures": ["MllamaForConditionalGeneration"], "image_token_index": 128256,
  "model_type": "mllama",
  "text_config": {"bos_token_id": 128000, "cross_attention_layers": [3, 8, 13, 18, 23, 28, 33, 38],
    "dropout": 0, "eos_token_id": [128001, 128008, 128009], "hidden_act": "silu",
    "hidden_size": 4096, "initializer_range": 0.02, "intermediate_size": 14336,
    "max_position_embeddings": 131072, "model_type": "mllama_text_model",
    "num_attention_heads": 32, "num_hidden_layers": 40, "num_key_value_heads": 8,
    "pad_token_id": 128004, "rms_norm_eps": 1e-05,
    "rope_scaling": {"factor": 8.0, "high_freq_factor": 4.0, "low_freq_factor": 1.0,
      "original_max_position_embeddings": 8192, "rope_type": "llama3"},
    "rope_theta": 500000.0, "tie_word_embeddings": false, "torch_dtype": "bfloat16",
    "use_cache": true, "vocab_size": 128256},
  "torch_dtype": "bfloat16", "transformers_version": "4.45.0.dev0",
  "vision_config": {"attention_heads": 16, "hidden_act": "gelu", "hidden_size": 1280,
    "image_size": 560, "initializer_range": 0.02,
    "intermediate_layers_indices": [3, 7, 15, 23, 30], "intermediate_size": 5120,
    "max_num_tiles": 4, "model_type": "mllama_vision_model", "norm_eps": 1e-05,
    "num_channels": 3, "num_global_layers": 8, "num_hidden_layers": 32, "patch_size": 14,
    "supported_aspect_ratios": [[1, 1], [1, 2], [1, 3], [1, 4], [2, 1], [2, 2], [3, 1], [4, 1]],
    "torch_dtype": "bfloat16", "vision_output_dim": 7680}})";

TEST(ReleasedConfigs, Llama32Vision11B) {
  const auto checkpoint =
      checkpoint_of(kLlama32Vision11B, R"({"eos_token_id": [128001, 128008, 128009]})");
  const auto text = mllama_decoder_config(checkpoint);
  EXPECT_EQ(text.cross_layers(), 8);
  EXPECT_TRUE(text.across[3]);
  EXPECT_FALSE(text.across[4]);
  EXPECT_TRUE(text.across[38]);
  EXPECT_EQ(text.attention.num_key_value_heads, 8);
  EXPECT_EQ(text.attention.head_dim, 128);
  EXPECT_EQ(text.tie_word_embeddings, false);
  const auto tower = vision::read_mllama_tower_config(checkpoint.config["vision_config"]);
  EXPECT_EQ(tower.rows_per_tile(), 1601);
  EXPECT_EQ(tower.vision_output_dim(), 7680);
  EXPECT_EQ(tower.hidden_act, kernels::Gelu::kExact);
  const auto model = build_model(checkpoint);
  EXPECT_EQ(model->info().num_layers, 40);
  EXPECT_EQ(model->info().cross_layers, 8);
  EXPECT_EQ(model->info().vocab_size, 128256);
  EXPECT_EQ(model->info().extra_tokens, 8);
  EXPECT_EQ(model->info().context_length, 131072);
  EXPECT_EQ(model->info().eos_token_ids, std::vector<int32_t>({128001, 128008, 128009}));
  EXPECT_EQ(model->media_states({}), 4 * 1601);
  const auto limits = read_text_limits(checkpoint);
  const auto layers = model->kv_layers();
  EXPECT_EQ(layers.size(), 32u);
  EXPECT_EQ(layers[0].heads * layers[0].head_dim, 8 * 128);
  EXPECT_EQ(limits.state_values, 8 * 8 * 128);
}

// What the class says where a config does not, which is not what any checkpoint has.
TEST(ReleasedConfigs, MllamaOfItsDefaults) {
  const auto checkpoint = checkpoint_of(R"({"model_type": "mllama"})");
  const auto text = mllama_decoder_config(checkpoint);
  EXPECT_EQ(text.num_hidden_layers, 40);
  EXPECT_EQ(text.cross_layers(), 8);
  EXPECT_EQ(text.vocab_size, 128256);
  const auto tower =
      vision::read_mllama_tower_config(checkpoint.config.optional_object("vision_config"));
  EXPECT_EQ(tower.image_size, 448);
  EXPECT_EQ(tower.supported_aspect_ratios.size(), 8u);
}

TEST(ReleasedConfigs, MllamaThatMakesNoModel) {
  const auto refuses = [](const std::string& part, const std::string& what) {
    EXPECT_ERROR(build_model(checkpoint_of(R"({"model_type": "mllama", )" + part + "}")),
                 ErrorKind::kInvalidData, what);
  };
  refuses(R"("text_config": {"cross_attention_layers": [40]})",
          "'cross_attention_layers' below 40 but got 40");
  refuses(R"("vision_config": {"intermediate_layers_indices": [32]})",
          "'intermediate_layers_indices' below 32 layers but got 32");
  refuses(R"("vision_config": {"supported_aspect_ratios": [[1, 5]]})", "of at most 4 tiles");
  refuses(R"("vision_config": {"supported_aspect_ratios": [[1]]})", "of at most 4 tiles");
  refuses(R"("vision_config": {"vision_output_dim": 1280})",
          "'vision_output_dim' 7680 but got 1280");
  refuses(R"("vision_config": {"attention_heads": 7})", "a multiple of");
  refuses(R"("vision_config": {"max_num_tiles": 65})", "from 1 to 64");
}

constexpr const char* kGemma3Of4B = R"({
  "architectures": ["Gemma3ForConditionalGeneration"], "boi_token_index": 255999,
  "eoi_token_index": 256000, "eos_token_id": [1, 106], "image_token_index": 262144,
  "initializer_range": 0.02, "mm_tokens_per_image": 256, "model_type": "gemma3",
  "text_config": {"hidden_size": 2560, "intermediate_size": 10240, "model_type": "gemma3_text",
    "num_hidden_layers": 34, "rope_scaling": {"factor": 8.0, "rope_type": "linear"},
    "sliding_window": 1024},
  "torch_dtype": "bfloat16",
  "vision_config": {"hidden_size": 1152, "image_size": 896, "intermediate_size": 4304,
    "model_type": "siglip_vision_model", "num_attention_heads": 16, "num_hidden_layers": 27,
    "patch_size": 14, "vision_use_head": false}})";

TEST(ReleasedConfigs, Gemma3Of4B) {
  const auto checkpoint = checkpoint_of(kGemma3Of4B, R"({"eos_token_id": [1, 106]})");
  const auto text = gemma3_decoder_config(checkpoint);
  EXPECT_EQ(text.vocab_size, 262208);
  EXPECT_EQ(text.max_position_embeddings, 131072);
  EXPECT_EQ(text.attention.num_attention_heads, 8);
  EXPECT_EQ(text.attention.num_key_value_heads, 4);
  EXPECT_EQ(text.attention.head_dim, 256);
  EXPECT_FLOAT_EQ(text.attention.scale, 1 / 16.0f);
  EXPECT_FLOAT_EQ(text.attention.norm_offset, 1);
  EXPECT_EQ(text.attention.softcap, 0);
  EXPECT_EQ(text.final_logit_softcapping, 0);
  EXPECT_EQ(text.gelu, kernels::Gelu::kTanh);
  EXPECT_TRUE(text.local_rope.has_value());
  for (size_t i = 0; i < 34; ++i) EXPECT_EQ(text.sliding_windows[i], i % 6 == 5 ? 0 : 1024) << i;
  EXPECT_EQ(build_model(checkpoint)->info().eos_token_ids, std::vector<int32_t>({1, 106}));
}

// As transformers 5 writes it.
TEST(ReleasedConfigs, Gemma3WithParametersOfEachKindOfLayer) {
  const auto checkpoint = checkpoint_of(R"({"text_config": {"num_hidden_layers": 2,
    "layer_types": ["full_attention", "sliding_attention"], "sliding_window": 9,
    "rope_parameters": {"full_attention": {"rope_theta": 1000.0, "rope_type": "linear",
        "factor": 4.0}, "sliding_attention": {"rope_theta": 100.0, "rope_type": "default"}},
    "final_logit_softcapping": 30.0}})");
  const auto text = gemma3_decoder_config(checkpoint);
  EXPECT_EQ(text.sliding_windows, std::vector<int>({0, 9}));
  EXPECT_EQ(text.final_logit_softcapping, 30);
  const auto second_angle = [](const nn::RotaryEmbedding& rope) {
    const auto tables = rope.tables(mx::ones({1, 1}, mx::int32));
    return std::asin(mx::slice(tables.sin_TR, {0, 1}, {1, 2}).item<float>());
  };
  EXPECT_NEAR(second_angle(text.rope), std::pow(1000.0, -1 / 128.0) / 4, 1e-6);
  EXPECT_NEAR(second_angle(*text.local_rope), std::pow(100.0, -1 / 128.0), 1e-6);
}

TEST(ReleasedConfigs, Gemma3WithAnOddNumberOfTokensIsRefused) {
  std::string config = kGemma3Of4B;
  const std::string tokens = "\"mm_tokens_per_image\": 256";
  for (const char* odd : {"255", "81"}) {
    auto changed = config;
    changed.replace(changed.find(tokens), tokens.size(),
                    fmt::format("\"mm_tokens_per_image\": {}", odd));
    EXPECT_ERROR(build_model(checkpoint_of(changed)), ErrorKind::kInvalidData,
                 "a square at 'mm_tokens_per_image' whose side divides the tower's 64 patches");
  }
}

TEST(ReleasedConfigs, PaliGemmaOf3B) {
  const auto checkpoint = checkpoint_of(R"({
    "architectures": ["PaliGemmaForConditionalGeneration"], "bos_token_id": 2,
    "eos_token_id": 1, "hidden_size": 2048, "ignore_index": -100, "image_token_index": 257152,
    "model_type": "paligemma", "pad_token_id": 0, "projection_dim": 2048,
    "text_config": {"hidden_size": 2048, "intermediate_size": 16384, "model_type": "gemma",
      "num_attention_heads": 8, "num_hidden_layers": 18, "num_image_tokens": 256,
      "num_key_value_heads": 1, "torch_dtype": "float32", "vocab_size": 257216},
    "vision_config": {"hidden_size": 1152, "intermediate_size": 4304,
      "model_type": "siglip_vision_model", "num_attention_heads": 16, "num_hidden_layers": 27,
      "num_image_tokens": 256, "patch_size": 14, "projection_dim": 2048,
      "projector_hidden_act": "gelu_fast", "vision_use_head": false},
    "vocab_size": 257216})");
  const auto text = paligemma_decoder_config(checkpoint);
  EXPECT_EQ(text.attention.head_dim, 256);
  EXPECT_EQ(text.attention.num_key_value_heads, 1);
  EXPECT_EQ(text.attention.scale, 0);  // of the head's size
  EXPECT_EQ(text.attention.softcap, 0);
  EXPECT_FALSE(text.attention.qk_norm);
  EXPECT_FALSE(text.sandwich_norms);
  EXPECT_TRUE(text.scaled_embeddings);
  EXPECT_EQ(text.sliding_windows, std::vector<int>(18, 0));
  const auto model = build_model(checkpoint);
  EXPECT_EQ(model->info().eos_token_ids, std::vector<int32_t>({1}));
  Prompt prompt;
  prompt.tokens.resize(7);
  EXPECT_EQ(model->attention_spans(prompt), std::vector<TokenRun>({{0, 7}}));
}

TEST(ReleasedConfigs, PaliGemma2Of3B) {
  const auto text = paligemma_decoder_config(checkpoint_of(R"({
    "model_type": "paligemma", "text_config": {"architectures": ["Gemma2ForCausalLM"],
      "hidden_size": 2304, "intermediate_size": 9216, "model_type": "gemma2",
      "num_hidden_layers": 26, "num_image_tokens": 256, "num_key_value_heads": 4,
      "tie_word_embeddings": false, "torch_dtype": "bfloat16", "vocab_size": 257216}})"));
  EXPECT_EQ(text.attention.softcap, 50);
  EXPECT_EQ(text.final_logit_softcapping, 30);
  EXPECT_FLOAT_EQ(text.attention.scale, 1 / 16.0f);
  EXPECT_TRUE(text.sandwich_norms);
  for (size_t i = 0; i < 26; ++i) EXPECT_EQ(text.sliding_windows[i], i % 2 == 0 ? 4096 : 0) << i;
  EXPECT_ERROR(paligemma_decoder_config(checkpoint_of(R"({"text_config": {"model_type": "x"}})")),
               ErrorKind::kUnsupported, "gemma or gemma2 but got 'x'");
}

TEST(ReleasedConfigs, Qwen25VlOf3B) {
  const auto checkpoint = checkpoint_of(R"({
    "architectures": ["Qwen2_5_VLForConditionalGeneration"], "attention_dropout": 0.0,
    "bos_token_id": 151643, "eos_token_id": 151645, "vision_start_token_id": 151652,
    "vision_end_token_id": 151653, "vision_token_id": 151654, "image_token_id": 151655,
    "video_token_id": 151656, "hidden_act": "silu", "hidden_size": 2048,
    "initializer_range": 0.02, "intermediate_size": 11008, "max_position_embeddings": 128000,
    "max_window_layers": 70, "model_type": "qwen2_5_vl", "num_attention_heads": 16,
    "num_hidden_layers": 36, "num_key_value_heads": 2, "rms_norm_eps": 1e-06,
    "rope_theta": 1000000.0, "sliding_window": 32768, "tie_word_embeddings": true,
    "torch_dtype": "bfloat16", "use_cache": true, "use_sliding_window": false,
    "vision_config": {"depth": 32, "hidden_act": "silu", "hidden_size": 1280,
      "intermediate_size": 3420, "num_heads": 16, "in_chans": 3, "out_hidden_size": 2048,
      "patch_size": 14, "spatial_merge_size": 2, "spatial_patch_size": 14, "window_size": 112,
      "fullatt_block_indexes": [7, 15, 23, 31], "tokens_per_second": 2,
      "temporal_patch_size": 2},
    "rope_scaling": {"type": "mrope", "mrope_section": [16, 24, 24]}, "vocab_size": 151936})",
                                        R"({"eos_token_id": [151645, 151643]})");
  const auto text = qwen2_5_vl_decoder_config(checkpoint);
  EXPECT_EQ(text.hidden_size, 2048);
  EXPECT_EQ(text.attention.qkv_bias, nn::Linear::Bias::kPresent);
  EXPECT_EQ(text.attention.o_bias, nn::Linear::Bias::kNone);
  EXPECT_EQ(text.rope.axes(), 3);
  EXPECT_EQ(text.sliding_windows, std::vector<int>(36, 0));
  EXPECT_EQ(text.tie_word_embeddings, true);
  const auto tower = vision::read_qwen2_5_vl_tower_config(checkpoint.config["vision_config"]);
  EXPECT_EQ(tower.grid.dim, 1280);
  EXPECT_EQ(tower.grid.mlp_dim, 3420);
  EXPECT_EQ(tower.window_side, 4);
  EXPECT_EQ(tower.fullatt_block_indexes, std::vector<int>({7, 15, 23, 31}));
  EXPECT_TRUE(tower.block.gated);
  EXPECT_EQ(build_model(checkpoint)->info().eos_token_ids, std::vector<int32_t>({151643, 151645}));
}

constexpr const char* kQwen3Vl2B = R"({
  "architectures": ["Qwen3VLForConditionalGeneration"], "image_token_id": 151655,
  "model_type": "qwen3_vl", "tie_word_embeddings": true, "transformers_version": "4.57.0.dev0",
  "text_config": {"attention_bias": false, "attention_dropout": 0.0, "bos_token_id": 151643,
    "dtype": "bfloat16", "eos_token_id": 151645, "head_dim": 128, "hidden_act": "silu",
    "hidden_size": 2048, "initializer_range": 0.02, "intermediate_size": 6144,
    "max_position_embeddings": 262144, "model_type": "qwen3_vl_text",
    "num_attention_heads": 16, "num_hidden_layers": 28, "num_key_value_heads": 8,
    "rms_norm_eps": 1e-06, "rope_scaling": {"mrope_interleaved": true,
      "mrope_section": [24, 20, 20], "rope_type": "default"},
    "rope_theta": 5000000, "tie_word_embeddings": true, "use_cache": true,
    "vocab_size": 151936},
  "video_token_id": 151656,
  "vision_config": {"deepstack_visual_indexes": [5, 11, 17], "depth": 24,
    "hidden_act": "gelu_pytorch_tanh", "hidden_size": 1024, "in_channels": 3,
    "initializer_range": 0.02, "intermediate_size": 4096, "model_type": "qwen3_vl",
    "num_heads": 16, "num_position_embeddings": 2304, "out_hidden_size": 2048,
    "patch_size": 16, "spatial_merge_size": 2, "temporal_patch_size": 2},
  "vision_end_token_id": 151653, "vision_start_token_id": 151652})";

TEST(ReleasedConfigs, Qwen3VlOf2B) {
  const auto checkpoint = checkpoint_of(kQwen3Vl2B, R"({"eos_token_id": [151645, 151643]})");
  const auto text = qwen3_vl_decoder_config(checkpoint);
  EXPECT_EQ(text.hidden_size, 2048);
  EXPECT_EQ(text.max_position_embeddings, 262144);
  EXPECT_EQ(text.attention.head_dim, 128);
  EXPECT_TRUE(text.attention.qk_norm);
  EXPECT_EQ(text.attention.qkv_bias, nn::Linear::Bias::kNone);
  EXPECT_EQ(text.rope.axes(), 3);
  EXPECT_EQ(text.tie_word_embeddings, true);
  const auto tower = vision::read_qwen3_vl_tower_config(checkpoint.config["vision_config"]);
  EXPECT_EQ(tower.position_side, 48);
  EXPECT_EQ(tower.deepstack_visual_indexes, std::vector<int>({5, 11, 17}));
  EXPECT_EQ(tower.hidden_act, kernels::Gelu::kTanh);
  const auto model = build_model(checkpoint);
  EXPECT_EQ(model->info().eos_token_ids, std::vector<int32_t>({151643, 151645}));
  EXPECT_EQ(model->info().hidden_size, 2048);
  // Room for the features of three layers beside each token's own.
  const int32_t token = 7;
  EXPECT_EQ(model->embed_tokens({&token, 1}).shape(), mx::Shape({1, 4 * 2048}));
}

TEST(ReleasedConfigs, Qwen3VlOf30BWithExperts) {
  const auto checkpoint = checkpoint_of(R"({
    "architectures": ["Qwen3VLMoeForConditionalGeneration"], "image_token_id": 151655,
    "model_type": "qwen3_vl_moe", "tie_word_embeddings": false,
    "text_config": {"attention_bias": false, "attention_dropout": 0.0, "bos_token_id": 151643,
      "decoder_sparse_step": 1, "dtype": "bfloat16", "eos_token_id": 151645, "head_dim": 128,
      "hidden_act": "silu", "hidden_size": 2048, "intermediate_size": 6144,
      "max_position_embeddings": 262144, "mlp_only_layers": [],
      "model_type": "qwen3_vl_moe_text", "moe_intermediate_size": 768, "norm_topk_prob": true,
      "num_attention_heads": 32, "num_experts": 128, "num_experts_per_tok": 8,
      "num_hidden_layers": 48, "num_key_value_heads": 4, "rms_norm_eps": 1e-06,
      "rope_scaling": {"mrope_interleaved": true, "mrope_section": [24, 20, 20],
        "rope_type": "default"},
      "rope_theta": 5000000, "use_cache": true, "vocab_size": 151936},
    "video_token_id": 151656,
    "vision_config": {"deepstack_visual_indexes": [8, 16, 24], "depth": 27,
      "hidden_act": "gelu_pytorch_tanh", "hidden_size": 1152, "in_channels": 3,
      "intermediate_size": 4304, "model_type": "qwen3_vl_moe", "num_heads": 16,
      "num_position_embeddings": 2304, "out_hidden_size": 2048, "patch_size": 16,
      "spatial_merge_size": 2, "temporal_patch_size": 2},
    "vision_end_token_id": 151653, "vision_start_token_id": 151652})");
  const auto text = qwen3_vl_moe_decoder_config(checkpoint);
  EXPECT_EQ(text.moe.num_experts, 128);
  EXPECT_EQ(text.moe.num_experts_per_tok, 8);
  EXPECT_EQ(text.moe.moe_intermediate_size, 768);
  EXPECT_EQ(text.sparse, std::vector<bool>(48, true));
  EXPECT_EQ(text.attention.head_dim, 128);
}

// transformers 5 saves the number under the name that its experts share.
TEST(ReleasedConfigs, Qwen3VlMoeSavedByTransformers5) {
  EXPECT_EQ(qwen3_vl_moe_decoder_config(checkpoint_of(R"({"text_config": {"num_local_experts": 16,
                                  "rope_scaling": {"mrope_section": [32, 16, 16]}}})"))
                .moe.num_experts,
            16);
}

TEST(ReleasedConfigs, Qwen3VlMoeWhatMakesNoMixture) {
  const auto with = [](const std::string& key, const std::string& value) {
    return checkpoint_of(fmt::format(
        R"({{"text_config": {{"num_hidden_layers": 4, "{}": {},
             "rope_scaling": {{"mrope_section": [32, 16, 16]}}}}}})",
        key, value));
  };
  const auto refused = [&](const std::string& key, const std::string& value) {
    EXPECT_ERROR(qwen3_vl_moe_decoder_config(with(key, value)), ErrorKind::kInvalidData,
                 "'text_config." + key + "'");
  };
  refused("num_experts", "0");
  refused("num_experts", "1025");
  refused("num_experts_per_tok", "61");  // of 60
  refused("moe_intermediate_size", "-1");
  refused("decoder_sparse_step", "0");
  EXPECT_EQ(qwen3_vl_moe_decoder_config(with("decoder_sparse_step", "2")).sparse,
            std::vector<bool>({false, true, false, true}));
  EXPECT_EQ(qwen3_vl_moe_decoder_config(with("mlp_only_layers", "[1, 2]")).sparse,
            std::vector<bool>({true, false, false, true}));
}

TEST(ReleasedConfigs, Qwen3VlWhatMakesNoTower) {
  const auto refused = [](const std::string& text, const std::string& part) {
    EXPECT_ERROR(vision::read_qwen3_vl_tower_config(Json::parse(text, "config.json")),
                 ErrorKind::kInvalidData, part);
  };
  refused(R"({"num_position_embeddings": 2303})", "a square at 'num_position_embeddings'");
  refused(R"({"deepstack_visual_indexes": [5, 5]})", "ascending blocks below 27");
  refused(R"({"deepstack_visual_indexes": [27]})", "ascending blocks below 27");
  std::string config = kQwen3Vl2B;
  const std::string layers = "\"num_hidden_layers\": 28";
  config.replace(config.find(layers), layers.size(), "\"num_hidden_layers\": 2");
  EXPECT_ERROR(build_model(checkpoint_of(config)), ErrorKind::kInvalidData,
               "at most 2 'vision_config.deepstack_visual_indexes'");
}

TEST(ReleasedConfigs, Qwen25VlWhatMakesNoTower) {
  const auto refused = [](const std::string& text, const std::string& part) {
    EXPECT_ERROR(vision::read_qwen2_5_vl_tower_config(Json::parse(text, "config.json")),
                 ErrorKind::kInvalidData, part);
  };
  refused(R"({"window_size": 27})", "a merged patch or more at 'window_size' but got 27 pixels");
  refused(R"({"hidden_size": 1281})", "'hidden_size' to be a multiple of 'num_heads'");
  refused(R"({"fullatt_block_indexes": 7})", "'fullatt_block_indexes'");
  EXPECT_ERROR(
      vision::read_qwen2_5_vl_tower_config(Json::parse(R"({"hidden_act": "gelu"})", "config.json")),
      ErrorKind::kUnsupported, "expected silu at 'hidden_act' but got 'gelu'");
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

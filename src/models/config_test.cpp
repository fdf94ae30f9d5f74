// config.json of released checkpoints, and of ones that nobody should run. Checked against public
// copies: Phi-3-vision (sdpython/experimental-experiment, torch_models/llm_model_helper.py),
// InternVL3-1B (shivangjhalani/multicoco, InternVL3-1B_data.md). Pixtral 12B and Mistral Small 3.1
// agree with copies in tests of others that an index of public code shows without their names. No
// copy was found of LLaVA 1.5's, LLaVA 1.6's and nanoLLaVA's: those are written from memory.
#include "models/config.h"

#include <gtest/gtest.h>

#include <cmath>

#include "mlx/ops.h"
#include "models/families.h"
#include "models/vision/intern_vit.h"
#include "models/vision/pixtral_tower.h"
#include "models/vision/qwen2_vl_tower.h"
#include "models/vision/vit.h"
#include "support/expect_error.h"

namespace fovea::models {
namespace {

Json parse(const std::string& text) { return Json::parse(text, "config.json"); }

text::DecoderConfig read_text(const std::string& text, const std::string& type) {
  return text::read_decoder_config(parse(text), text::decoder_type(type, "model_type"));
}

Checkpoint checkpoint_of(const std::string& config) { return {"here", "", parse(config), Json()}; }

// llava-hf/llava-1.5-7b-hf leaves out what equals LlamaConfig's defaults.
TEST(Config, ReadsTheReleasedLlava) {
  const auto checkpoint = checkpoint_of(R"({
    "model_type": "llava", "image_token_index": 32000, "tie_word_embeddings": false,
    "text_config": {"_name_or_path": "lmsys/vicuna-7b-v1.5", "max_position_embeddings": 4096,
      "model_type": "llama", "rms_norm_eps": 1e-05, "vocab_size": 32064}})");
  const auto c = llava_decoder_config(checkpoint);
  EXPECT_EQ(c.hidden_size, 4096);
  EXPECT_EQ(c.intermediate_size, 11008);
  EXPECT_EQ(c.num_hidden_layers, 32);
  EXPECT_EQ(c.vocab_size, 32064);
  EXPECT_EQ(c.max_position_embeddings, 4096);
  EXPECT_FLOAT_EQ(c.rms_norm_eps, 1e-5f);
  EXPECT_EQ(c.attention.num_attention_heads, 32);
  EXPECT_EQ(c.attention.num_key_value_heads, 32);
  EXPECT_EQ(c.attention.head_dim, 128);
  EXPECT_EQ(c.attention.qkv_bias, nn::Linear::Bias::kNone);
  EXPECT_EQ(c.tie_word_embeddings, false);
  EXPECT_EQ(read_text_limits(checkpoint).vocab_size, 32064);
  EXPECT_EQ(read_text_limits(checkpoint).context_length, 4096);
}

// llava-hf/llava-v1.6-mistral-7b-hf.
TEST(Config, ReadsTheReleasedLlavaNext) {
  const auto c = llava_decoder_config(checkpoint_of(R"({
    "architectures": ["LlavaNextForConditionalGeneration"], "ignore_index": -100,
    "image_grid_pinpoints": [[336, 672], [672, 336], [672, 672], [1008, 336], [336, 1008]],
    "image_token_index": 32000, "model_type": "llava_next", "projector_hidden_act": "gelu",
    "text_config": {"_name_or_path": "mistralai/Mistral-7B-Instruct-v0.2",
      "architectures": ["MistralForCausalLM"], "intermediate_size": 14336,
      "max_position_embeddings": 32768, "model_type": "mistral", "num_key_value_heads": 8,
      "rms_norm_eps": 1e-05, "rope_theta": 1000000.0, "sliding_window": null,
      "torch_dtype": "bfloat16", "vocab_size": 32064},
    "torch_dtype": "float16", "use_image_newline_parameter": true, "vocab_size": 32064})"));
  EXPECT_EQ(c.hidden_size, 4096);
  EXPECT_EQ(c.attention.num_key_value_heads, 8);
  EXPECT_EQ(c.max_position_embeddings, 32768);
  EXPECT_EQ(c.vocab_size, 32064);
  EXPECT_EQ(c.sliding_windows[0], 0);
}

// microsoft/Phi-3-vision-128k-instruct, its factors rounded to two decimals.
constexpr const char* kPhi3Vision = R"({"architectures": ["Phi3VForCausalLM"],
    "attention_dropout": 0.0, "bos_token_id": 1,
    "embd_layer": {"embedding_cls": "image", "hd_transform_order": "sub_glb",
      "projection_cls": "mlp", "use_hd_transform": true, "with_learnable_separator": true},
    "eos_token_id": 2, "hidden_act": "silu", "hidden_size": 3072,
    "img_processor": {"image_dim_out": 1024, "model_name": "openai/clip-vit-large-patch14-336",
      "name": "clip_vision_model", "num_img_tokens": 144},
    "initializer_range": 0.02, "intermediate_size": 8192, "max_position_embeddings": 131072,
    "model_type": "phi3_v", "num_attention_heads": 32, "num_hidden_layers": 32,
    "num_key_value_heads": 32, "original_max_position_embeddings": 4096, "rms_norm_eps": 1e-05,
    "rope_scaling": {"long_factor": [
      1.03, 1.05, 1.05, 1.08, 1.23, 1.23, 1.3, 1.45, 1.6, 1.65, 1.9, 2.86, 3.69, 5.42,
      5.49, 5.49, 9.09, 11.58, 15.66, 15.77, 15.79, 18.36, 21.99, 23.08, 30.01, 32.35,
      32.59, 35.56, 39.95, 53.84, 56.2, 57.95, 59.29, 59.77, 59.92, 61.19, 61.96, 62.5,
      63.37, 63.48, 63.48, 63.66, 63.85, 64.08, 64.76, 64.8, 64.81, 64.81],
      "short_factor": [
      1.05, 1.05, 1.05, 1.1, 1.1, 1.1, 1.25, 1.25, 1.4, 1.45, 1.55, 1.85, 1.9, 2.0, 2.0,
      2.0, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0,
      2.1, 2.1, 2.2, 2.35, 2.35, 2.35, 2.35, 2.4, 2.4, 2.65, 2.7, 2.9, 2.95, 3.05, 3.05,
      3.05],
      "type": "su"},
    "rope_theta": 10000.0, "sliding_window": 131072, "tie_word_embeddings": false,
    "torch_dtype": "bfloat16", "use_cache": true, "vocab_size": 32064})";

TEST(Config, ReadsTheReleasedPhi3Vision) {
  const auto checkpoint = checkpoint_of(kPhi3Vision);
  const auto c = phi3_v_decoder_config(checkpoint);
  EXPECT_EQ(c.hidden_size, 3072);
  EXPECT_EQ(c.attention.head_dim, 96);
  EXPECT_TRUE(c.attention.fused_qkv && c.fused_mlp);
  EXPECT_EQ(c.max_position_embeddings, 131072);
  EXPECT_EQ(c.sliding_windows[31], 131072);
  EXPECT_TRUE(c.rope.depends_on_length());
  EXPECT_EQ(c.tie_word_embeddings, false);
  // The first angle of position 1, within the short context and beyond it.
  const double stretch = std::sqrt(1 + std::log(32.0) / std::log(4096.0));
  for (const auto& [last, factor] : {std::pair{4095, 1.05}, std::pair{4096, 1.03}}) {
    const auto tables = c.rope.tables(mx::reshape(mx::array({1, last}), {2, 1}));
    EXPECT_NEAR(mx::slice(tables.sin_TR, {0, 0}, {1, 1}).item<float>(),
                stretch * std::sin(1 / factor), 1e-6);
  }
  // None of a chat's ends: its tokenizer names <|endoftext|>, and its format <|end|>.
  EXPECT_EQ(build_model(checkpoint)->info().eos_token_ids, std::vector<int32_t>({2}));
}

TEST(Config, Phi3VRefusesWhatItCannotArrange) {
  EXPECT_ERROR(build_model(checkpoint_of(R"({"model_type": "phi3_v", "num_hidden_layers": 1,
      "vocab_size": 8, "embd_layer": {"hd_transform_order": "both"}})")),
               ErrorKind::kUnsupported, "hd_transform_order' but got 'both'");
  EXPECT_EQ(phi3_v_decoder_config(checkpoint_of(R"({"model_type": "phi3_v"})")).sliding_windows[0],
            0);
}

// mistral-community/pixtral-12b.
TEST(Config, ReadsTheReleasedPixtral) {
  const auto checkpoint = checkpoint_of(R"({
    "architectures": ["LlavaForConditionalGeneration"], "ignore_index": -100,
    "image_seq_length": 1, "image_token_index": 10, "model_type": "llava",
    "projector_hidden_act": "gelu",
    "text_config": {"head_dim": 128, "hidden_size": 5120, "intermediate_size": 14336,
      "is_composition": true, "max_position_embeddings": 1024000, "model_type": "mistral",
      "num_hidden_layers": 40, "num_key_value_heads": 8, "rms_norm_eps": 1e-05,
      "rope_theta": 1000000000.0, "sliding_window": null, "vocab_size": 131072},
    "torch_dtype": "bfloat16",
    "vision_config": {"head_dim": 64, "hidden_act": "silu", "image_size": 1024,
      "is_composition": true, "model_type": "pixtral", "patch_size": 16, "rope_theta": 10000.0,
      "tie_word_embeddings": false},
    "vision_feature_layer": -1, "vision_feature_select_strategy": "full"})");
  const auto c = llava_decoder_config(checkpoint);
  EXPECT_EQ(c.hidden_size, 5120);
  EXPECT_EQ(c.attention.head_dim, 128);
  EXPECT_EQ(c.attention.num_attention_heads, 32);
  EXPECT_EQ(read_text_limits(checkpoint).context_length, 1024000);
  const auto tower = vision::read_pixtral_tower_config(checkpoint.config["vision_config"]);
  EXPECT_EQ(tower.hidden_size, 1024);
  EXPECT_EQ(tower.num_hidden_layers, 24);
  EXPECT_EQ(tower.patch_size, 16);
}

// mistralai/Mistral-Small-3.1-24B-Instruct-2503.
TEST(Config, ReadsTheReleasedMistralSmall) {
  const auto checkpoint = checkpoint_of(R"({
    "architectures": ["Mistral3ForConditionalGeneration"], "image_token_index": 10,
    "model_type": "mistral3", "multimodal_projector_bias": false, "projector_hidden_act": "gelu",
    "spatial_merge_size": 2,
    "text_config": {"attention_dropout": 0.0, "head_dim": 128, "hidden_act": "silu",
      "hidden_size": 5120, "initializer_range": 0.02, "intermediate_size": 32768,
      "max_position_embeddings": 131072, "model_type": "mistral", "num_attention_heads": 32,
      "num_hidden_layers": 40, "num_key_value_heads": 8, "rms_norm_eps": 1e-05,
      "rope_theta": 1000000000.0, "sliding_window": null, "use_cache": true,
      "vocab_size": 131072},
    "torch_dtype": "bfloat16",
    "vision_config": {"attention_dropout": 0.0, "head_dim": 64, "hidden_act": "silu",
      "hidden_size": 1024, "image_size": 1540, "initializer_range": 0.02,
      "intermediate_size": 4096, "model_type": "pixtral", "num_attention_heads": 16,
      "num_channels": 3, "num_hidden_layers": 24, "patch_size": 14, "rope_theta": 10000.0},
    "vision_feature_layer": -1})");
  EXPECT_EQ(read_text_limits(checkpoint).vocab_size, 131072);
  EXPECT_EQ(llava_decoder_config(checkpoint).intermediate_size, 32768);
  EXPECT_EQ(vision::read_pixtral_tower_config(checkpoint.config["vision_config"]).patch_size, 14);
}

TEST(Config, RefusesPixtralTowersByKey) {
  const auto refuse = [](const std::string& key, const std::string& value, ErrorKind kind) {
    EXPECT_ERROR(
        vision::read_pixtral_tower_config(parse(fmt::format(R"({{"{}": {}}})", key, value))), kind,
        "'" + key + "'");
  };
  for (const char* key : {"hidden_size", "intermediate_size", "num_hidden_layers",
                          "num_attention_heads", "num_channels", "patch_size"}) {
    for (const char* value : {"0", "-3", "2147483647"}) {
      refuse(key, value, ErrorKind::kInvalidData);
    }
  }
  refuse("num_attention_heads", "512", ErrorKind::kInvalidData);  // heads of two values
  refuse("rope_theta", "0", ErrorKind::kInvalidData);
  refuse("hidden_act", "\"relu\"", ErrorKind::kUnsupported);
}

// OpenGVLab/InternVL3-1B.
TEST(Config, ReadsTheReleasedInternVl) {
  const std::string vision = R"({"architectures": ["InternVisionModel"],
      "attention_dropout": 0.0, "drop_path_rate": 0.0, "dropout": 0.0, "hidden_act": "gelu",
      "hidden_size": 1024, "image_size": 448, "initializer_factor": 1.0,
      "initializer_range": 0.02, "intermediate_size": 4096, "layer_norm_eps": 1e-06,
      "model_type": "intern_vit_6b", "norm_type": "layer_norm", "num_attention_heads": 16,
      "num_channels": 3, "num_hidden_layers": 24, "patch_size": 14, "qk_normalization": false,
      "qkv_bias": true, "use_flash_attn": true})";
  const auto checkpoint = checkpoint_of(R"({
    "architectures": ["InternVLChatModel"], "downsample_ratio": 0.5, "dynamic_image_size": true,
    "force_image_size": 448,
    "llm_config": {"architectures": ["Qwen2ForCausalLM"], "bos_token_id": 151643,
      "eos_token_id": 151645, "hidden_act": "silu", "hidden_size": 896,
      "intermediate_size": 4864, "max_position_embeddings": 32768, "max_window_layers": 21,
      "model_type": "qwen2", "num_attention_heads": 14, "num_hidden_layers": 24,
      "num_key_value_heads": 2, "rms_norm_eps": 1e-06,
      "rope_scaling": {"factor": 2.0, "rope_type": "dynamic", "type": "dynamic"},
      "rope_theta": 1000000.0, "sliding_window": null, "use_sliding_window": false,
      "vocab_size": 151674},
    "max_dynamic_patch": 12, "min_dynamic_patch": 1, "model_type": "internvl_chat",
    "pad2square": false, "ps_version": "v2", "select_layer": -1, "template": "internvl2_5",
    "tie_word_embeddings": false, "use_thumbnail": true, "vision_config": )" +
                                        vision + "}");
  const auto c = internvl_chat_decoder_config(checkpoint);
  EXPECT_EQ(c.hidden_size, 896);
  EXPECT_EQ(c.attention.num_key_value_heads, 2);
  EXPECT_EQ(c.attention.qkv_bias, nn::Linear::Bias::kPresent);
  EXPECT_EQ(c.tie_word_embeddings, false);
  EXPECT_EQ(eos_token_ids(checkpoint), std::vector<int32_t>({151645}));
  const auto tower = vision::read_intern_vit_config(parse(vision));
  EXPECT_EQ(tower.norm_type, nn::Norm::Kind::kLayer);
  EXPECT_TRUE(tower.qkv_bias);
  EXPECT_FALSE(tower.qk_normalization);
  EXPECT_EQ(tower.hidden_act, kernels::Gelu::kExact);
  // InternViT-6B says little.
  EXPECT_EQ(vision::read_intern_vit_config(parse("{}")).norm_type, nn::Norm::Kind::kRms);
}

// OpenGVLab/InternVL3_5-8B names qwen3, whose heads are of 128 values unless it says otherwise.
TEST(Config, ReadsQwen3BehindInternVl) {
  const auto c = internvl_chat_decoder_config(checkpoint_of(R"({"model_type": "internvl_chat",
    "llm_config": {"architectures": ["Qwen3ForCausalLM"], "attention_bias": false,
      "hidden_size": 4096, "intermediate_size": 12288, "max_position_embeddings": 40960,
      "max_window_layers": 36, "model_type": "qwen3", "num_attention_heads": 32,
      "num_hidden_layers": 36, "num_key_value_heads": 8, "rms_norm_eps": 1e-06,
      "rope_scaling": null, "rope_theta": 1000000, "sliding_window": null,
      "tie_word_embeddings": false, "use_sliding_window": false, "vocab_size": 151936}})"));
  EXPECT_TRUE(c.attention.qk_norm);
  EXPECT_EQ(c.attention.head_dim, 128);
  EXPECT_EQ(c.attention.qkv_bias, nn::Linear::Bias::kNone);
  EXPECT_EQ(c.sliding_windows, std::vector<int>(36, 0));
}

TEST(Config, InternVlRefusesWhatItCannotArrange) {
  const auto refuse = [](const std::string& keys, ErrorKind kind, const std::string& part) {
    EXPECT_ERROR(build_model(checkpoint_of(R"({"model_type": "internvl_chat", "llm_config":
        {"num_hidden_layers": 1, "vocab_size": 8}, "vision_config": {"hidden_size": 8,
        "num_attention_heads": 1, "num_hidden_layers": 1}, )" +
                                           keys + "}")),
                 kind, part);
  };
  refuse(R"("downsample_ratio": 0.3)", ErrorKind::kInvalidData, "'downsample_ratio'");
  refuse(R"("downsample_ratio": 0)", ErrorKind::kInvalidData, "'downsample_ratio'");
  refuse(R"("select_layer": -3)", ErrorKind::kInvalidData, "'select_layer' within 1 layers");
  EXPECT_ERROR(
      internvl_chat_decoder_config(checkpoint_of(R"({"llm_config": {"model_type": "internlm2"}})")),
      ErrorKind::kUnsupported, "llm_config.model_type among");
  EXPECT_ERROR(vision::read_intern_vit_config(parse(R"({"norm_type": "none"})")),
               ErrorKind::kUnsupported, "'norm_type' but got 'none'");
  for (const char* key : {"hidden_size", "intermediate_size", "num_hidden_layers", "image_size",
                          "num_attention_heads", "patch_size", "num_channels"}) {
    EXPECT_ERROR(vision::read_intern_vit_config(parse(fmt::format(R"({{"{}": 2147483647}})", key))),
                 ErrorKind::kInvalidData, "'" + std::string(key) + "'");
  }
}

// qnguyen3/nanoLLaVA; MLX's conversions add a vision_config.
TEST(Config, ReadsTheReleasedNanoLlava) {
  const auto checkpoint = checkpoint_of(R"({
    "architectures": ["LlavaQwen2ForCausalLM"], "attention_dropout": 0.0,
    "bos_token_id": 151643, "eos_token_id": 151645, "hidden_act": "silu", "hidden_size": 1024,
    "initializer_range": 0.02, "intermediate_size": 2816, "max_position_embeddings": 32768,
    "max_window_layers": 21, "mm_hidden_size": 1152, "mm_projector_type": "mlp2x_gelu",
    "mm_vision_tower": "google/siglip-so400m-patch14-384", "model_type": "llava-qwen2",
    "num_attention_heads": 16, "num_hidden_layers": 24, "num_key_value_heads": 16,
    "rms_norm_eps": 1e-06, "rope_theta": 1000000.0, "sliding_window": 32768,
    "use_mm_proj": true, "use_sliding_window": false, "vocab_size": 151936})");
  const auto c = llava_qwen2_decoder_config(checkpoint);
  EXPECT_EQ(c.hidden_size, 1024);
  EXPECT_EQ(c.attention.qkv_bias, nn::Linear::Bias::kPresent);
  EXPECT_EQ(read_text_limits(checkpoint).vocab_size, 151936);
  EXPECT_EQ(vision::siglip_so400m_384().num_hidden_layers, 27);
  EXPECT_ERROR(build_model(checkpoint_of(
                   R"({"model_type": "bunny-llama", "num_hidden_layers": 1, "vocab_size": 8,
                       "mm_projector_type": "linear"})")),
               ErrorKind::kUnsupported, "'mm_projector_type' but got 'linear'");
}

TEST(Registry, TellsOfEveryFamilyWhatItIsMadeOf) {
  std::string last;
  for (const auto& card : supported_families()) {
    EXPECT_LT(last, card.model_type) << "sorted by name";
    EXPECT_FALSE(card.parts.empty() || card.media.empty()) << card.model_type;
    last = card.model_type;
  }
}

TEST(Config, FillsInEachTypesDefaults) {
  const auto qwen2 = read_text("{}", "qwen2");
  EXPECT_EQ(qwen2.vocab_size, 151936);
  EXPECT_EQ(qwen2.intermediate_size, 22016);
  EXPECT_EQ(qwen2.attention.num_key_value_heads, 32);
  EXPECT_EQ(qwen2.max_position_embeddings, 32768);
  EXPECT_EQ(qwen2.attention.qkv_bias, nn::Linear::Bias::kPresent);
  EXPECT_EQ(qwen2.attention.o_bias, nn::Linear::Bias::kNone);
  const auto mistral = read_text("{}", "mistral");
  EXPECT_EQ(mistral.intermediate_size, 14336);
  EXPECT_EQ(mistral.attention.num_key_value_heads, 8);
  EXPECT_EQ(mistral.max_position_embeddings, 131072);
  EXPECT_EQ(read_text("{}", "llama").max_position_embeddings, 2048);
  EXPECT_EQ(read_text(R"({"num_attention_heads": 8})", "llama").attention.num_key_value_heads, 8);
  EXPECT_EQ(read_text(R"({"num_key_value_heads": null})", "mistral").attention.num_key_value_heads,
            32);
}

TEST(Config, ReadsVisionConfigsOfReleasedLlavas) {
  const auto large = vision::read_vit_config(parse(R"({
    "hidden_size": 1024, "image_size": 336, "intermediate_size": 4096,
    "model_type": "clip_vision_model", "num_attention_heads": 16, "num_hidden_layers": 24,
    "patch_size": 14, "projection_dim": 768, "vocab_size": 32000})"));
  EXPECT_EQ(large.hidden_size, 1024);
  EXPECT_EQ(large.num_channels, 3);
  EXPECT_EQ(large.hidden_act, kernels::Gelu::kQuick);
  EXPECT_TRUE(large.has_class_row);
  const auto siglip = vision::read_vit_config(parse(R"({"model_type": "siglip_vision_model"})"));
  EXPECT_EQ(siglip.hidden_size, 768);
  EXPECT_EQ(siglip.patch_size, 16);
  EXPECT_EQ(siglip.hidden_act, kernels::Gelu::kTanh);
  EXPECT_FALSE(siglip.has_class_row);
  EXPECT_EQ(vision::read_vit_config(parse(R"({"model_type": "clip_vision_model"})")).patch_size,
            32);
  EXPECT_ERROR(vision::read_vit_config(parse(R"({"model_type": "vit"})")), ErrorKind::kUnsupported,
               "clip_vision_model, siglip_vision_model, ");
}

// What fine-tunes of Qwen2-VL-7B write.
TEST(Config, ReadsQwen2VlFineTunes) {
  const auto tower = vision::read_qwen2_vl_tower_config(
      parse(R"({"in_chans": 3, "model_type": "qwen2_vl", "spatial_patch_size": 14})"));
  EXPECT_EQ(tower.grid.depth, 32);
  EXPECT_EQ(tower.grid.dim, 1280);
  EXPECT_EQ(tower.out_size, 3584);
  EXPECT_EQ(tower.grid.num_heads, 16);
  EXPECT_EQ(tower.grid.mlp_dim, 5120);
  EXPECT_EQ(tower.grid.patch_size, 14);
  const std::string sizes = R"("hidden_size": 3584, "intermediate_size": 18944,
    "num_attention_heads": 28, "num_hidden_layers": 28, "num_key_value_heads": 4,
    "rope_scaling": {"type": "mrope", "mrope_section": [16, 24, 24]}, "vocab_size": 152064)";
  for (const auto& config :
       {"{\"model_type\": \"qwen2_vl\", " + sizes + "}",
        "{\"model_type\": \"qwen2_vl\", \"text_config\": {\"model_type\": \"qwen2_vl_text\"}, " +
            sizes + "}",
        "{\"model_type\": \"qwen2_vl\", \"text_config\": {" + sizes + "}}"}) {
    const auto c = qwen2_vl_decoder_config(checkpoint_of(config));
    EXPECT_EQ(c.num_hidden_layers, 28) << config;
    EXPECT_EQ(c.attention.num_key_value_heads, 4) << config;
    EXPECT_EQ(c.max_position_embeddings, 32768) << config;
    EXPECT_EQ(c.rope.axes(), 3) << config;
    EXPECT_EQ(c.tie_word_embeddings, std::nullopt) << config;
  }
  EXPECT_ERROR(qwen2_vl_decoder_config(checkpoint_of(R"({"model_type": "qwen2_vl"})")),
               ErrorKind::kInvalidData, "'rope_scaling.mrope_section'");
}

using Windows = std::vector<int>;

TEST(Config, MistralSlidesInEveryLayerUnlessNull) {
  const std::string layers = R"("num_hidden_layers": 3)";
  EXPECT_EQ(read_text("{" + layers + "}", "mistral").sliding_windows, Windows({4096, 4096, 4096}));
  EXPECT_EQ(read_text(R"({"sliding_window": 7, )" + layers + "}", "mistral").sliding_windows,
            Windows({7, 7, 7}));
  EXPECT_EQ(read_text(R"({"sliding_window": null, )" + layers + "}", "mistral").sliding_windows,
            Windows({0, 0, 0}));
  EXPECT_EQ(
      read_text(R"({"sliding_window": 7, "use_sliding_window": true, )" + layers + "}", "llama")
          .sliding_windows,
      Windows({0, 0, 0}));
}

TEST(Config, Qwen2SlidesFromALayerOnOrByType) {
  const auto windows = [](const std::string& keys) {
    return read_text(R"({"num_hidden_layers": 3, "sliding_window": 7, )" + keys + "}", "qwen2")
        .sliding_windows;
  };
  EXPECT_EQ(windows(R"("use_sliding_window": false, "max_window_layers": 1)"), Windows({0, 0, 0}));
  EXPECT_EQ(windows(R"("use_sliding_window": true)"), Windows({0, 0, 0}));
  EXPECT_EQ(windows(R"("use_sliding_window": true, "max_window_layers": 1)"), Windows({0, 7, 7}));
  EXPECT_EQ(windows(R"("use_sliding_window": true, "max_window_layers": 0, "layer_types":
      ["full_attention", "sliding_attention", "full_attention"])"),
            Windows({0, 7, 0}));
  EXPECT_ERROR(windows(R"("use_sliding_window": true, "layer_types": ["full_attention"])"),
               ErrorKind::kInvalidData, "one entry a layer at 'layer_types'");
  EXPECT_ERROR(windows(R"("use_sliding_window": true, "layer_types": ["a", "b", "c"])"),
               ErrorKind::kUnsupported, "at 'layer_types[0]' but got 'a'");
}

TEST(Config, TiesWhereEitherConfigSaysSo) {
  const auto tied = [](const std::string& config) { return tie_word_embeddings(parse(config)); };
  EXPECT_EQ(tied("{}"), std::nullopt);
  EXPECT_EQ(tied(R"({"tie_word_embeddings": null})"), std::nullopt);
  EXPECT_EQ(tied(R"({"tie_word_embeddings": false})"), false);
  EXPECT_EQ(tied(R"({"text_config": {"tie_word_embeddings": true}})"), true);
  EXPECT_EQ(tied(R"({"tie_word_embeddings": false,
                     "text_config": {"tie_word_embeddings": true}})"),
            true);
}

TEST(Config, TiesWhereTheDecoderOfAnInternVlSaysSo) {
  const std::string root = R"("model_type": "internvl_chat", "tie_word_embeddings": false)";
  EXPECT_EQ(
      tie_word_embeddings(parse("{" + root + R"(, "llm_config": {"tie_word_embeddings": true}})")),
      true);
}

// "gelu" of the first gemma's releases means the tanh form; later ones have a key of their own and
// hidden_act says nothing.
TEST(Config, ReadsTheGatesOfGemmas) {
  const auto gate = [](const std::string& text) {
    return paligemma_decoder_config(checkpoint_of(R"({"text_config": )" + text + "}")).gelu;
  };
  using kernels::Gelu;
  EXPECT_EQ(gate(R"({"model_type": "gemma", "hidden_act": "gelu"})"), Gelu::kTanh);
  EXPECT_EQ(gate(R"({"model_type": "gemma", "hidden_act": "gelu", "hidden_activation": "gelu"})"),
            Gelu::kTanh);
  EXPECT_EQ(gate(R"({"model_type": "gemma2", "hidden_act": "gelu"})"), Gelu::kTanh);
  EXPECT_EQ(gate(R"({"model_type": "gemma2", "hidden_act": "silu"})"), Gelu::kTanh);
  EXPECT_EQ(gate(R"({"model_type": "gemma2", "hidden_activation": "gelu"})"), Gelu::kExact);
}

TEST(Config, RefusesInternVlsFirstPixelShuffle) {
  const auto build = [](const char* version) {
    build_model(checkpoint_of(fmt::format(
        R"({{"model_type": "internvl_chat", "ps_version": "{}",
             "llm_config": {{"num_hidden_layers": 1, "vocab_size": 8}},
             "vision_config": {{"num_hidden_layers": 1}}}})",
        version)));
  };
  EXPECT_NO_THROW(build("v2"));
  EXPECT_ERROR(build("v1"), ErrorKind::kUnsupported, "v2 at 'ps_version' but got 'v1'");
}

// Hugging Face's class says gelu where released configs say silu; mlx-vlm, whose type `pixtral` is,
// has silu alone.
TEST(Config, PixtralTowersDefaultToTheirClass) {
  const auto act = [](const std::string& config) {
    return vision::read_pixtral_tower_config(parse(config)).hidden_act;
  };
  EXPECT_EQ(act("{}"), kernels::Gelu::kExact);
  EXPECT_EQ(act(R"({"hidden_act": "silu"})"), std::nullopt);
  EXPECT_ERROR(act(R"({"hidden_act": "relu"})"), ErrorKind::kUnsupported, "'relu'");
  EXPECT_EQ(vision::read_pixtral_tower_config(parse("{}"), "silu").hidden_act, std::nullopt);
}

TEST(Config, RefusesDecodersThatWouldAnswerWrongly) {
  EXPECT_ERROR(read_text(R"({"hidden_act": "gelu"})", "llama"), ErrorKind::kUnsupported,
               "expected silu at 'hidden_act' but got 'gelu'");
  EXPECT_ERROR(read_text(R"({"rms_norm_eps": -1e-6})", "llama"), ErrorKind::kInvalidData,
               "above 0 at 'rms_norm_eps'");
  EXPECT_ERROR(read_text(R"({"rope_theta": 0})", "llama"), ErrorKind::kInvalidData,
               "above 0 at 'rope_theta'");
  EXPECT_ERROR(text::decoder_type("gpt2", "text_config.model_type"), ErrorKind::kUnsupported,
               "expected text_config.model_type among llama, mistral, ministral3, qwen2, qwen3 but "
               "got 'gpt2'");
}

TEST(Config, RefusesSizesOutOfRangeByKey) {
  const auto decoder = [](const std::string& key, const std::string& value) {
    EXPECT_ERROR(read_text(fmt::format(R"({{"{}": {}}})", key, value), "llama"),
                 ErrorKind::kInvalidData, "'" + key + "'");
  };
  for (const char* key :
       {"hidden_size", "intermediate_size", "num_hidden_layers", "vocab_size",
        "num_attention_heads", "num_key_value_heads", "head_dim", "max_position_embeddings"}) {
    for (const char* value : {"0", "-16", "2147483647", "3.5", "\"8\""}) decoder(key, value);
  }
  decoder("num_hidden_layers", "1025");
  decoder("num_hidden_layers", "1000000");
  EXPECT_ERROR(read_text(R"({"head_dim": 16777216})", "llama"), ErrorKind::kInvalidData,
               "attention heads of at most 268435456 values but got 32 x 16777216");
  EXPECT_ERROR(read_text(R"({"num_key_value_heads": 5})", "llama"), ErrorKind::kInvalidData,
               "'num_attention_heads' to be a multiple of 'num_key_value_heads'");
}

TEST(Config, RefusesTowersOutOfRangeByKey) {
  const auto vit = [](const std::string& key, const std::string& value) {
    EXPECT_ERROR(vision::read_vit_config(parse(fmt::format(R"({{"{}": {}}})", key, value))),
                 ErrorKind::kInvalidData, "'" + key + "'");
  };
  for (const char* key : {"hidden_size", "intermediate_size", "num_hidden_layers", "image_size",
                          "num_attention_heads", "patch_size", "num_channels"}) {
    for (const char* value : {"0", "-3", "2147483647"}) vit(key, value);
  }
  vit("num_hidden_layers", "268435456");
  vit("patch_size", "1048576");
  vit("patch_size", "225");  // more than the picture
  vit("layer_norm_eps", "0");
  const auto tower = [](const std::string& key, const std::string& value) {
    EXPECT_ERROR(
        vision::read_qwen2_vl_tower_config(parse(fmt::format(R"({{"{}": {}}})", key, value))),
        ErrorKind::kInvalidData, "'" + key + "'");
  };
  for (const char* key :
       {"depth", "embed_dim", "hidden_size", "num_heads", "in_channels", "in_chans", "patch_size",
        "temporal_patch_size", "spatial_merge_size", "mlp_ratio"}) {
    for (const char* value : {"0", "-2", "2147483647"}) tower(key, value);
  }
  tower("depth", "1025");
  tower("mlp_ratio", "1e300");
  tower("patch_size", "1048576");
  tower("patch_size", "134217728");
}

}  // namespace
}  // namespace fovea::models

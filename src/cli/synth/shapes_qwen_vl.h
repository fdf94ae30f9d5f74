// What the sizes of Qwen2.5-VL and of Qwen3-VL share, for shapes.cpp; the vocabulary is Qwen2-VL's.
// Sources: what Qwen/Qwen2.5-VL-3B-Instruct and Qwen/Qwen3-VL-2B-Instruct publish.
#pragma once

namespace fovea::cli {

inline constexpr const char* kQwen25Vl = R"json({
  "config.json": {
    "architectures": ["Qwen2_5_VLForConditionalGeneration"], "model_type": "qwen2_5_vl",
    "bos_token_id": 151643, "eos_token_id": 151645, "vision_start_token_id": 151652,
    "vision_end_token_id": 151653, "vision_token_id": 151654, "image_token_id": 151655,
    "video_token_id": 151656, "hidden_act": "silu", "attention_dropout": 0.0,
    "initializer_range": 0.02, "max_position_embeddings": 128000, "rms_norm_eps": 1e-06,
    "rope_theta": 1000000.0, "rope_scaling": {"type": "mrope", "mrope_section": [16, 24, 24]},
    "sliding_window": 32768, "use_sliding_window": false, "use_cache": true,
    "vision_config": {"depth": 32, "hidden_act": "silu", "hidden_size": 1280,
      "intermediate_size": 3420, "num_heads": 16, "in_chans": 3, "patch_size": 14,
      "spatial_merge_size": 2, "spatial_patch_size": 14, "window_size": 112,
      "fullatt_block_indexes": [7, 15, 23, 31], "tokens_per_second": 2,
      "temporal_patch_size": 2}},
  "generation_config.json": {"bos_token_id": 151643, "pad_token_id": 151643,
    "eos_token_id": [151645, 151643], "do_sample": false},
  "preprocessor_config.json": {"image_processor_type": "Qwen2VLImageProcessor",
    "processor_class": "Qwen2_5_VLProcessor", "min_pixels": 3136, "max_pixels": 12845056,
    "patch_size": 14, "temporal_patch_size": 2, "merge_size": 2,
    "image_mean": [0.48145466, 0.4578275, 0.40821073],
    "image_std": [0.26862954, 0.26130258, 0.27577711]}
})json";

inline constexpr const char* kQwen3Vl = R"json({
  "config.json": {
    "architectures": ["Qwen3VLForConditionalGeneration"], "model_type": "qwen3_vl",
    "image_token_id": 151655, "video_token_id": 151656, "vision_start_token_id": 151652,
    "vision_end_token_id": 151653, "tie_word_embeddings": true,
    "text_config": {"model_type": "qwen3_vl_text", "attention_bias": false,
      "attention_dropout": 0.0, "bos_token_id": 151643, "eos_token_id": 151645, "head_dim": 128,
      "hidden_act": "silu", "hidden_size": 2048, "initializer_range": 0.02,
      "intermediate_size": 6144, "max_position_embeddings": 262144, "num_attention_heads": 16,
      "num_hidden_layers": 28, "num_key_value_heads": 8, "rms_norm_eps": 1e-06,
      "rope_scaling": {"mrope_interleaved": true, "mrope_section": [24, 20, 20],
        "rope_type": "default"},
      "rope_theta": 5000000, "tie_word_embeddings": true, "use_cache": true,
      "vocab_size": 151936},
    "vision_config": {"model_type": "qwen3_vl", "deepstack_visual_indexes": [5, 11, 17],
      "depth": 24, "hidden_act": "gelu_pytorch_tanh", "hidden_size": 1024, "in_channels": 3,
      "initializer_range": 0.02, "intermediate_size": 4096, "num_heads": 16,
      "num_position_embeddings": 2304, "out_hidden_size": 2048, "patch_size": 16,
      "spatial_merge_size": 2, "temporal_patch_size": 2}},
  "generation_config.json": {"bos_token_id": 151643, "pad_token_id": 151643,
    "eos_token_id": [151645, 151643], "do_sample": false},
  "preprocessor_config.json": {"image_processor_type": "Qwen2VLImageProcessorFast",
    "processor_class": "Qwen3VLProcessor",
    "size": {"longest_edge": 16777216, "shortest_edge": 65536}, "patch_size": 16,
    "temporal_patch_size": 2, "merge_size": 2, "image_mean": [0.5, 0.5, 0.5],
    "image_std": [0.5, 0.5, 0.5]}
})json";

// What Qwen3-VL with experts has of its own, of the size of Qwen/Qwen3-VL-30B-A3B-Instruct.
inline constexpr const char* kQwen3Vl30bA3b = R"json({"config.json": {
  "architectures": ["Qwen3VLMoeForConditionalGeneration"], "model_type": "qwen3_vl_moe",
  "tie_word_embeddings": false,
  "text_config": {"model_type": "qwen3_vl_moe_text", "decoder_sparse_step": 1,
    "mlp_only_layers": [], "moe_intermediate_size": 768, "norm_topk_prob": true,
    "num_experts": 128, "num_experts_per_tok": 8, "num_attention_heads": 32,
    "num_hidden_layers": 48, "num_key_value_heads": 4, "tie_word_embeddings": false},
  "vision_config": {"model_type": "qwen3_vl_moe", "deepstack_visual_indexes": [8, 16, 24],
    "depth": 27, "hidden_size": 1152, "intermediate_size": 4304}}})json";

}  // namespace fovea::cli

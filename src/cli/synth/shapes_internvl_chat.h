// InternVL 2.5, for shapes.cpp. Source: what OpenGVLab/InternVL2_5-1B publishes.
#pragma once

namespace fovea::cli {

inline constexpr const char* kInternVl = R"json({
  "config.json": {
    "architectures": ["InternVLChatModel"], "model_type": "internvl_chat",
    "downsample_ratio": 0.5, "dynamic_image_size": true, "force_image_size": 448,
    "max_dynamic_patch": 12, "min_dynamic_patch": 1, "ps_version": "v2", "select_layer": -1,
    "template": "internvl2_5", "use_thumbnail": true,
    "llm_config": {"architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2",
      "bos_token_id": 151643, "eos_token_id": 151645, "hidden_act": "silu", "hidden_size": 896,
      "intermediate_size": 4864, "num_hidden_layers": 24, "num_attention_heads": 14,
      "num_key_value_heads": 2, "max_position_embeddings": 32768, "max_window_layers": 21,
      "rms_norm_eps": 1e-06, "rope_scaling": {"factor": 2.0, "type": "dynamic"},
      "rope_theta": 1000000.0, "sliding_window": 32768, "use_sliding_window": false,
      "tie_word_embeddings": false, "vocab_size": 151674},
    "vision_config": {"architectures": ["InternVisionModel"], "model_type": "intern_vit_6b",
      "hidden_act": "gelu", "hidden_size": 1024, "intermediate_size": 4096,
      "num_hidden_layers": 24, "num_attention_heads": 16, "image_size": 448, "patch_size": 14,
      "num_channels": 3, "layer_norm_eps": 1e-06, "norm_type": "layer_norm",
      "qk_normalization": false, "qkv_bias": true}},
  "generation_config.json": {"eos_token_id": [151645, 151643]},
  "preprocessor_config.json": {"feature_extractor_type": "CLIPFeatureExtractor",
    "crop_size": 448, "do_center_crop": true, "do_normalize": true, "do_resize": true,
    "resample": 3, "size": 448, "image_mean": [0.485, 0.456, 0.406],
    "image_std": [0.229, 0.224, 0.225]},
  "vocabulary": {"text": 151643,
    "last": ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|object_ref_start|>",
      "<|object_ref_end|>", "<|box_start|>", "<|box_end|>", "<|quad_start|>", "<|quad_end|>",
      "<|vision_start|>", "<|vision_end|>", "<|vision_pad|>", "<|image_pad|>", "<|video_pad|>",
      "<tool_call>", "</tool_call>", "<|fim_prefix|>", "<|fim_middle|>", "<|fim_suffix|>",
      "<|fim_pad|>", "<|repo_name|>", "<|file_sep|>", "<img>", "</img>", "<IMG_CONTEXT>",
      "<quad>", "</quad>", "<ref>", "</ref>", "<box>", "</box>"],
    "eos_token": "<|im_end|>", "pad_token": "<|endoftext|>",
    "chat_template": [
      "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}",
      "<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"]}
})json";

}  // namespace fovea::cli

// What the sizes of Llama 3.2 Vision share, for shapes.cpp. Source: what
// meta-llama/Llama-3.2-11B-Vision-Instruct publishes.
#pragma once

namespace fovea::cli {

inline constexpr const char* kMllama = R"json({
  "config.json": {
    "architectures": ["MllamaForConditionalGeneration"], "model_type": "mllama",
    "image_token_index": 128256,
    "text_config": {"model_type": "mllama_text_model", "bos_token_id": 128000,
      "cross_attention_layers": [3, 8, 13, 18, 23, 28, 33, 38], "dropout": 0,
      "eos_token_id": [128001, 128008, 128009], "hidden_act": "silu", "hidden_size": 4096,
      "initializer_range": 0.02, "intermediate_size": 14336, "max_position_embeddings": 131072,
      "num_attention_heads": 32, "num_hidden_layers": 40, "num_key_value_heads": 8,
      "pad_token_id": 128004, "rms_norm_eps": 1e-05,
      "rope_scaling": {"factor": 8.0, "high_freq_factor": 4.0, "low_freq_factor": 1.0,
        "original_max_position_embeddings": 8192, "rope_type": "llama3"},
      "rope_theta": 500000.0, "tie_word_embeddings": false, "vocab_size": 128256},
    "vision_config": {"model_type": "mllama_vision_model", "attention_heads": 16,
      "hidden_act": "gelu", "hidden_size": 1280, "image_size": 560, "initializer_range": 0.02,
      "intermediate_layers_indices": [3, 7, 15, 23, 30], "intermediate_size": 5120,
      "max_num_tiles": 4, "norm_eps": 1e-05, "num_channels": 3, "num_global_layers": 8,
      "num_hidden_layers": 32, "patch_size": 14,
      "supported_aspect_ratios": [[1, 1], [1, 2], [1, 3], [1, 4], [2, 1], [2, 2], [3, 1], [4, 1]],
      "vision_output_dim": 7680}},
  "generation_config.json": {"bos_token_id": 128000, "eos_token_id": [128001, 128008, 128009],
    "pad_token_id": 128004, "do_sample": false},
  "preprocessor_config.json": {"image_processor_type": "MllamaImageProcessor",
    "processor_class": "MllamaProcessor", "do_convert_rgb": true, "do_normalize": true,
    "do_pad": true, "do_rescale": true, "do_resize": true, "max_image_tiles": 4, "resample": 2,
    "rescale_factor": 0.00392156862745098, "size": {"height": 560, "width": 560},
    "image_mean": [0.48145466, 0.4578275, 0.40821073],
    "image_std": [0.26862954, 0.26130258, 0.27577711]},
  "processor_config.json": {"processor_class": "MllamaProcessor"},
  "vocabulary": {"text": 128000,
    "last": ["<|begin_of_text|>", "<|end_of_text|>", 2, "<|finetune_right_pad_id|>", 1,
      "<|start_header_id|>", "<|end_header_id|>", "<|eom_id|>", "<|eot_id|>", "<|python_tag|>",
      245, "<|image|>"],
    "bos_token": "<|begin_of_text|>", "eos_token": "<|eot_id|>",
    "pad_token": "<|finetune_right_pad_id|>",
    "chat_template": [
      "{{ bos_token }}{% for message in messages %}<|start_header_id|>{{ message['role'] }}",
      "<|end_header_id|>\n\n{% if message['content'] is string %}{{ message['content'] }}",
      "{% else %}{% for part in message['content'] %}{% if part['type'] == 'image' %}<|image|>",
      "{% elif part['type'] == 'text' %}{{ part['text'] }}{% endif %}{% endfor %}{% endif %}",
      "<|eot_id|>{% endfor %}{% if add_generation_prompt %}",
      "<|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}"]}
})json";

}  // namespace fovea::cli

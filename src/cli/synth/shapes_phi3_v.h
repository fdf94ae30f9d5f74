// Phi-3.5-Vision, for shapes.cpp. Source: what microsoft/Phi-3.5-vision-instruct publishes; the
// factors of longrope are a rule, not the released ones.
#pragma once

namespace fovea::cli {

inline constexpr const char* kPhi35Vision = R"json({
  "config.json": {
    "architectures": ["Phi3VForCausalLM"], "model_type": "phi3_v", "bos_token_id": 1,
    "eos_token_id": 2, "hidden_act": "silu", "hidden_size": 3072, "intermediate_size": 8192,
    "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 32,
    "max_position_embeddings": 131072, "original_max_position_embeddings": 4096,
    "rms_norm_eps": 1e-05, "rope_theta": 10000.0, "sliding_window": 262144,
    "tie_word_embeddings": false, "vocab_size": 32064,
    "embd_layer": {"embedding_cls": "image", "hd_transform_order": "sub_glb",
      "projection_cls": "mlp", "use_hd_transform": true, "with_learnable_separator": true},
    "img_processor": {"image_dim_out": 1024, "model_name": "openai/clip-vit-large-patch14-336",
      "name": "clip_vision_model", "num_img_tokens": 144},
    "rope_scaling": {"type": "su",
      "short_factor": [1.1, 1.1, 1.1, 1.1, 1.1, 1.1, 1.2, 1.2, 1.2, 1.2, 1.2, 1.2,
        1.3, 1.3, 1.3, 1.3, 1.3, 1.3, 1.4, 1.4, 1.4, 1.4, 1.4, 1.4,
        1.5, 1.5, 1.5, 1.5, 1.5, 1.5, 1.6, 1.6, 1.6, 1.6, 1.6, 1.6,
        1.7, 1.7, 1.7, 1.7, 1.7, 1.7, 1.8, 1.8, 1.8, 1.8, 1.8, 1.8],
      "long_factor": [1.1, 1.2, 1.3, 1.4, 1.5, 1.6, 1.8, 2, 2.2, 2.5, 2.8, 3.2,
        3.6, 4, 4.5, 5, 5.6, 6.3, 7, 8, 9, 10, 11, 12,
        14, 16, 18, 20, 22, 25, 28, 32, 34, 36, 38, 40,
        42, 44, 46, 48, 50, 52, 54, 56, 58, 60, 62, 64]}},
  "generation_config.json": {"bos_token_id": 1, "eos_token_id": [32007, 32001, 32000],
    "pad_token_id": 32000},
  "preprocessor_config.json": {"image_processor_type": "Phi3VImageProcessor",
    "processor_class": "Phi3VProcessor", "num_crops": 4, "num_img_tokens": 144,
    "image_mean": [0.48145466, 0.4578275, 0.40821073],
    "image_std": [0.26862954, 0.26130258, 0.27577711]},
  "vocabulary": {"first": ["<unk>", "<s>", "</s>"], "text": 31997,
    "last": ["<|endoftext|>", "<|assistant|>", "<|placeholder1|>", "<|placeholder2|>",
      "<|placeholder3|>", "<|placeholder4|>", "<|system|>", "<|end|>", "<|placeholder5|>",
      "<|placeholder6|>", "<|user|>"],
    "bos_token": "<s>", "eos_token": "<|endoftext|>", "unk_token": "<unk>",
    "pad_token": "<|endoftext|>",
    "chat_template": [
      "{% for message in messages %}<|{{ message['role'] }}|>\n{{ message['content'] }}<|end|>\n",
      "{% endfor %}{% if add_generation_prompt %}<|assistant|>\n{% endif %}"]}
})json";

}  // namespace fovea::cli

// nanoLLaVA, for shapes.cpp. Source: what qnguyen3/nanoLLaVA publishes.
#pragma once

namespace fovea::cli {

inline constexpr const char* kNanoLlava = R"json({
  "config.json": {
    "architectures": ["LlavaQwen2ForCausalLM"], "model_type": "llava-qwen2",
    "bos_token_id": 151643, "eos_token_id": 151645, "hidden_act": "silu", "hidden_size": 1024,
    "intermediate_size": 2816, "num_hidden_layers": 24, "num_attention_heads": 16,
    "num_key_value_heads": 16, "max_position_embeddings": 32768, "max_window_layers": 21,
    "mm_hidden_size": 1152, "mm_projector_type": "mlp2x_gelu",
    "mm_vision_tower": "google/siglip-so400m-patch14-384", "rms_norm_eps": 1e-06,
    "rope_theta": 1000000.0, "sliding_window": 32768, "use_sliding_window": false,
    "tie_word_embeddings": false, "use_mm_proj": true, "vocab_size": 151936},
  "generation_config.json": {"eos_token_id": 151645},
  "vocabulary": {"text": 151643, "last": ["<|endoftext|>", "<|im_start|>", "<|im_end|>"],
    "eos_token": "<|im_end|>", "pad_token": "<|endoftext|>",
    "chat_template": [
      "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}",
      "<|im_end|>{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"]}
})json";

}  // namespace fovea::cli

// What Pixtral 12B and Mistral Small 3.1 share, for shapes.cpp. Source: what
// mistral-community/pixtral-12b and mistralai/Mistral-Small-3.1-24B-Instruct-2503 publish.
#pragma once

namespace fovea::cli {

inline constexpr const char* kPixtral = R"json({
  "config.json": {
    "ignore_index": -100, "image_token_index": 10, "projector_hidden_act": "gelu",
    "tie_word_embeddings": false, "vision_feature_layer": -1,
    "text_config": {"architectures": ["MistralForCausalLM"], "model_type": "mistral",
      "bos_token_id": 1, "eos_token_id": 2, "head_dim": 128, "hidden_act": "silu",
      "hidden_size": 5120, "num_hidden_layers": 40, "num_attention_heads": 32,
      "num_key_value_heads": 8, "rms_norm_eps": 1e-05, "rope_theta": 1000000000.0,
      "sliding_window": null, "vocab_size": 131072},
    "vision_config": {"model_type": "pixtral", "head_dim": 64, "hidden_act": "silu",
      "hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 24,
      "num_attention_heads": 16, "num_channels": 3, "rope_theta": 10000.0}},
  "generation_config.json": {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 11},
  "preprocessor_config.json": {"image_processor_type": "PixtralImageProcessor",
    "processor_class": "PixtralProcessor", "do_convert_rgb": true, "do_normalize": true,
    "do_rescale": true, "do_resize": true, "resample": 3, "rescale_factor": 0.00392156862745098,
    "image_mean": [0.48145466, 0.4578275, 0.40821073],
    "image_std": [0.26862954, 0.26130258, 0.27577711]},
  "processor_config.json": {"processor_class": "PixtralProcessor", "image_token": "[IMG]",
    "image_break_token": "[IMG_BREAK]", "image_end_token": "[IMG_END]"},
  "vocabulary": {
    "first": ["<unk>", "<s>", "</s>", "[INST]", "[/INST]", "[AVAILABLE_TOOLS]",
      "[/AVAILABLE_TOOLS]", "[TOOL_RESULTS]", "[/TOOL_RESULTS]", "[TOOL_CALLS]", "[IMG]", "<pad>",
      "[IMG_BREAK]", "[IMG_END]"],
    "text": 131058, "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>",
    "pad_token": "<pad>",
    "chat_template": [
      "{{ bos_token }}{% for message in messages %}{% if message['role'] == 'user' %}[INST]",
      "{% for part in message['content'] %}{% if part['type'] == 'image' %}[IMG]",
      "{% else %}{{ part['text'] }}{% endif %}{% endfor %}[/INST]",
      "{% else %}{{ message['content'] + eos_token }}{% endif %}{% endfor %}"]}
})json";

}  // namespace fovea::cli

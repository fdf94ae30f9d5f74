// LLaVA NeXT, for shapes.cpp. Source: what llava-hf/llava-v1.6-mistral-7b-hf publishes.
#pragma once

namespace fovea::cli {

inline constexpr const char* kLlavaNext = R"json({
  "config.json": {
    "architectures": ["LlavaNextForConditionalGeneration"], "model_type": "llava_next",
    "ignore_index": -100, "image_token_index": 32000, "projector_hidden_act": "gelu",
    "image_grid_pinpoints": [[336, 672], [672, 336], [672, 672], [1008, 336], [336, 1008]],
    "tie_word_embeddings": false, "use_image_newline_parameter": true,
    "vision_feature_layer": -2, "vision_feature_select_strategy": "default", "vocab_size": 32064,
    "text_config": {"architectures": ["MistralForCausalLM"], "model_type": "mistral",
      "bos_token_id": 1, "eos_token_id": 2, "hidden_size": 4096, "intermediate_size": 14336,
      "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 8,
      "max_position_embeddings": 32768, "rms_norm_eps": 1e-05, "rope_theta": 1000000.0,
      "sliding_window": null, "vocab_size": 32064},
    "vision_config": {"model_type": "clip_vision_model", "hidden_size": 1024,
      "intermediate_size": 4096, "num_hidden_layers": 24, "num_attention_heads": 16,
      "image_size": 336, "patch_size": 14, "projection_dim": 768, "vocab_size": 32000}},
  "generation_config.json": {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 32001},
  "preprocessor_config.json": {"image_processor_type": "LlavaNextImageProcessor",
    "processor_class": "LlavaNextProcessor", "size": {"shortest_edge": 336},
    "crop_size": {"height": 336, "width": 336}, "do_center_crop": true, "do_convert_rgb": true,
    "do_normalize": true, "do_rescale": true, "do_resize": true, "resample": 3,
    "image_grid_pinpoints": [[336, 672], [672, 336], [672, 672], [1008, 336], [336, 1008]],
    "rescale_factor": 0.00392156862745098, "image_mean": [0.48145466, 0.4578275, 0.40821073],
    "image_std": [0.26862954, 0.26130258, 0.27577711]},
  "processor_config.json": {"processor_class": "LlavaNextProcessor", "image_token": "<image>",
    "num_additional_image_tokens": 1, "patch_size": 14,
    "vision_feature_select_strategy": "default"},
  "vocabulary": {"first": ["<unk>", "<s>", "</s>"], "text": 31997, "last": ["<image>", "<pad>"],
    "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>",
    "chat_template": [
      "{% for message in messages %}{% if message['role'] == 'user' %}[INST] ",
      "{% for part in message['content'] %}{% if part['type'] == 'image' %}<image>\n{% endif %}",
      "{% endfor %}{% for part in message['content'] %}",
      "{% if part['type'] == 'text' %}{{ part['text'] }}{% endif %}{% endfor %} [/INST]",
      "{% else %} {{ message['content'][0]['text'] }}</s> {% endif %}{% endfor %}"]}
})json";

}  // namespace fovea::cli

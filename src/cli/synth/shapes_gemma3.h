// What the sizes of Gemma 3 share, for shapes.cpp. Source: what google/gemma-3-4b-it publishes.
#pragma once

namespace fovea::cli {

inline constexpr const char* kGemma3 = R"json({
  "config.json": {
    "architectures": ["Gemma3ForConditionalGeneration"], "model_type": "gemma3",
    "boi_token_index": 255999, "eoi_token_index": 256000, "eos_token_id": [1, 106],
    "image_token_index": 262144, "initializer_range": 0.02, "mm_tokens_per_image": 256,
    "text_config": {"model_type": "gemma3_text", "hidden_size": 2560,
      "intermediate_size": 10240, "num_hidden_layers": 34, "num_attention_heads": 8,
      "num_key_value_heads": 4, "head_dim": 256, "vocab_size": 262208,
      "max_position_embeddings": 131072, "query_pre_attn_scalar": 256,
      "rope_scaling": {"factor": 8.0, "rope_type": "linear"}, "sliding_window": 1024},
    "tie_word_embeddings": true,
    "vision_config": {"model_type": "siglip_vision_model", "hidden_size": 1152,
      "image_size": 896, "intermediate_size": 4304, "num_attention_heads": 16,
      "num_hidden_layers": 27, "patch_size": 14, "vision_use_head": false}},
  "generation_config.json": {"bos_token_id": 2, "eos_token_id": [1, 106], "pad_token_id": 0},
  "preprocessor_config.json": {"image_processor_type": "Gemma3ImageProcessor",
    "processor_class": "Gemma3Processor", "do_convert_rgb": null, "do_normalize": true,
    "do_pan_and_scan": null, "do_rescale": true, "do_resize": true, "image_seq_length": 256,
    "image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5],
    "pan_and_scan_max_num_crops": null, "pan_and_scan_min_crop_size": null,
    "pan_and_scan_min_ratio_to_activate": null, "resample": 2,
    "rescale_factor": 0.00392156862745098, "size": {"height": 896, "width": 896}},
  "processor_config.json": {"image_seq_length": 256, "processor_class": "Gemma3Processor"},
  "vocabulary": {
    "first": ["<pad>", "<eos>", "<bos>", "<unk>", 101, "<start_of_turn>", "<end_of_turn>"],
    "text": 255892,
    "last": ["<start_of_image>", "<end_of_image>", 6143, "<image_soft_token>"],
    "bos_token": "<bos>", "eos_token": "<eos>", "pad_token": "<pad>", "unk_token": "<unk>",
    "chat_template": [
      "{{ bos_token }}{% for message in messages %}<start_of_turn>",
      "{% if message['role'] == 'assistant' %}model{% else %}{{ message['role'] }}{% endif %}\n",
      "{% if message['content'] is string %}{{ message['content'] | trim }}{% else %}",
      "{% for part in message['content'] %}",
      "{% if part['type'] == 'image' %}<start_of_image>",
      "{% elif part['type'] == 'text' %}{{ part['text'] | trim }}{% endif %}{% endfor %}",
      "{% endif %}<end_of_turn>\n{% endfor %}",
      "{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}"]}
})json";

}  // namespace fovea::cli

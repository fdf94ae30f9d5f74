// What the sizes of PaliGemma share, for shapes.cpp. Source: what google/paligemma-3b-mix-224
// publishes.
#pragma once

namespace fovea::cli {

inline constexpr const char* kPaliGemma = R"json({
  "config.json": {
    "architectures": ["PaliGemmaForConditionalGeneration"], "model_type": "paligemma",
    "bos_token_id": 2, "eos_token_id": 1, "hidden_size": 2048, "ignore_index": -100,
    "image_token_index": 257152, "pad_token_id": 0, "projection_dim": 2048,
    "tie_word_embeddings": true,
    "text_config": {"model_type": "gemma", "hidden_size": 2048, "intermediate_size": 16384,
      "num_attention_heads": 8, "num_hidden_layers": 18, "num_image_tokens": 256,
      "num_key_value_heads": 1, "vocab_size": 257216},
    "vision_config": {"model_type": "siglip_vision_model", "hidden_size": 1152,
      "intermediate_size": 4304, "num_attention_heads": 16, "num_hidden_layers": 27,
      "num_image_tokens": 256, "image_size": 224, "patch_size": 14, "projection_dim": 2048,
      "projector_hidden_act": "gelu_fast", "vision_use_head": false},
    "vocab_size": 257216},
  "generation_config.json": {"bos_token_id": 2, "eos_token_id": 1, "pad_token_id": 0},
  "preprocessor_config.json": {"image_processor_type": "SiglipImageProcessor",
    "processor_class": "PaliGemmaProcessor", "do_convert_rgb": null, "do_normalize": true,
    "do_rescale": true, "do_resize": true, "image_seq_length": 256,
    "image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5], "resample": 3,
    "rescale_factor": 0.00392156862745098, "size": {"height": 224, "width": 224}},
  "vocabulary": {"first": ["<pad>", "<eos>", "<bos>", "<unk>"], "text": 257148,
    "last": ["<image>"], "bos_token": "<bos>", "eos_token": "<eos>", "pad_token": "<pad>",
    "unk_token": "<unk>", "chat_template": ["{{ messages[-1]['content'] }}"]}
})json";

}  // namespace fovea::cli

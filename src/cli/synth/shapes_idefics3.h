// What the sizes of Idefics3 and SmolVLM share, for shapes.cpp. Source: what
// HuggingFaceTB/SmolVLM-256M-Instruct publishes.
#pragma once

namespace fovea::cli {

inline constexpr const char* kSmolVlm = R"json({
  "config.json": {
    "architectures": ["Idefics3ForConditionalGeneration"], "model_type": "idefics3",
    "image_token_id": 49190, "scale_factor": 4, "tie_word_embeddings": false, "use_cache": true,
    "vocab_size": 49280,
    "text_config": {"architectures": ["VLlama3ForCausalLM"], "model_type": "llama", "head_dim": 64,
      "hidden_size": 576, "intermediate_size": 1536, "is_llama_config": true,
      "max_position_embeddings": 8192, "num_attention_heads": 9, "num_hidden_layers": 30,
      "num_key_value_heads": 3, "pad_token_id": 2, "pixel_shuffle_factor": 4,
      "qk_layer_norms": false, "rms_norm_eps": 1e-05, "rope_interleaved": false,
      "rope_scaling": null, "rope_theta": 100000, "use_cache": true, "vocab_size": 49280},
    "vision_config": {"model_type": "idefics3", "hidden_size": 768, "image_size": 512,
      "max_image_size": {"longest_edge": 512}, "num_attention_heads": 12, "patch_size": 16,
      "size": {"longest_edge": 2048}, "tie_word_embeddings": false}},
  "generation_config.json": {"bos_token_id": 1, "eos_token_id": 49279, "pad_token_id": 2},
  "preprocessor_config.json": {"image_processor_type": "Idefics3ImageProcessor",
    "processor_class": "Idefics3Processor", "do_convert_rgb": true, "do_image_splitting": true,
    "do_normalize": true, "do_pad": true, "do_rescale": true, "do_resize": true,
    "max_image_size": {"longest_edge": 512}, "size": {"longest_edge": 2048}, "resample": 1,
    "rescale_factor": 0.00392156862745098, "image_mean": [0.5, 0.5, 0.5],
    "image_std": [0.5, 0.5, 0.5]},
  "processor_config.json": {"image_seq_len": 64, "processor_class": "Idefics3Processor"},
  "vocabulary": {
    "first": ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<repo_name>", "<reponame>",
      "<file_sep>", "<filename>", "<gh_stars>", "<issue_start>", "<issue_comment>",
      "<issue_closed>", "<jupyter_start>", "<jupyter_text>", "<jupyter_code>", "<jupyter_output>",
      "<jupyter_script>", "<empty_output>"],
    "text": 49135,
    "last": ["<global-img>",
      "<row_1_col_1>", "<row_1_col_2>", "<row_1_col_3>", "<row_1_col_4>", "<row_1_col_5>",
      "<row_1_col_6>", "<row_2_col_1>", "<row_2_col_2>", "<row_2_col_3>", "<row_2_col_4>",
      "<row_2_col_5>", "<row_2_col_6>", "<row_3_col_1>", "<row_3_col_2>", "<row_3_col_3>",
      "<row_3_col_4>", "<row_3_col_5>", "<row_3_col_6>", "<row_4_col_1>", "<row_4_col_2>",
      "<row_4_col_3>", "<row_4_col_4>", "<row_4_col_5>", "<row_4_col_6>", "<row_5_col_1>",
      "<row_5_col_2>", "<row_5_col_3>", "<row_5_col_4>", "<row_5_col_5>", "<row_5_col_6>",
      "<row_6_col_1>", "<row_6_col_2>", "<row_6_col_3>", "<row_6_col_4>", "<row_6_col_5>",
      "<row_6_col_6>", "<fake_token_around_image>", "<image>", 88, "<end_of_utterance>"],
    "bos_token": "<|im_start|>", "eos_token": "<end_of_utterance>", "pad_token": "<|im_end|>",
    "unk_token": "<|endoftext|>",
    "chat_template": [
      "<|im_start|>{% for message in messages %}{{ message['role'] | capitalize }}",
      "{% if message['content'][0]['type'] == 'image' %}:{% else %}: {% endif %}",
      "{% for part in message['content'] %}{% if part['type'] == 'text' %}{{ part['text'] }}",
      "{% elif part['type'] == 'image' %}<image>{% endif %}{% endfor %}<end_of_utterance>\n",
      "{% endfor %}{% if add_generation_prompt %}Assistant:{% endif %}"]}
})json";

}  // namespace fovea::cli

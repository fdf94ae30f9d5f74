// Sources: the config.json, preprocessor_config.json and tokenizer files that Qwen/Qwen2-VL-2B- and
// -7B-Instruct, llava-hf/llava-1.5-7b-hf and llava-hf/llava-interleave-qwen-0.5b-hf publish; other
// families' stand in shapes_<family>.h.
#include "cli/synth/shapes.h"

#include <algorithm>
#include <array>

#include "base/error.h"
#include "cli/synth/shapes_gemma3.h"
#include "cli/synth/shapes_idefics3.h"
#include "cli/synth/shapes_internvl_chat.h"
#include "cli/synth/shapes_llava_bunny.h"
#include "cli/synth/shapes_llava_next.h"
#include "cli/synth/shapes_mllama.h"
#include "cli/synth/shapes_paligemma.h"
#include "cli/synth/shapes_phi3_v.h"
#include "cli/synth/shapes_pixtral.h"
#include "cli/synth/shapes_qwen_vl.h"
#include "cli/synth/shapes_whisper.h"

namespace fovea::cli {
namespace {

// What the sizes of a family share. "vocabulary" goes to the tokenizer, the rest are files.
constexpr const char* kQwen2Vl = R"json({
  "config.json": {
    "architectures": ["Qwen2VLForConditionalGeneration"], "model_type": "qwen2_vl",
    "bos_token_id": 151643, "eos_token_id": 151645, "vision_start_token_id": 151652,
    "vision_end_token_id": 151653, "vision_token_id": 151654, "image_token_id": 151655,
    "video_token_id": 151656, "hidden_act": "silu", "attention_dropout": 0.0,
    "initializer_range": 0.02, "max_position_embeddings": 32768, "rms_norm_eps": 1e-06,
    "rope_theta": 1000000.0, "rope_scaling": {"type": "mrope", "mrope_section": [16, 24, 24]},
    "sliding_window": 32768, "use_sliding_window": false, "use_cache": true,
    "vision_config": {"model_type": "qwen2_vl", "depth": 32, "embed_dim": 1280, "num_heads": 16,
      "mlp_ratio": 4, "in_chans": 3, "in_channels": 3, "patch_size": 14, "spatial_patch_size": 14,
      "spatial_merge_size": 2, "temporal_patch_size": 2, "hidden_act": "quick_gelu"}},
  "generation_config.json": {"bos_token_id": 151643, "pad_token_id": 151643,
    "eos_token_id": [151645, 151643], "do_sample": false},
  "preprocessor_config.json": {"image_processor_type": "Qwen2VLImageProcessor",
    "processor_class": "Qwen2VLProcessor", "min_pixels": 3136, "max_pixels": 12845056,
    "patch_size": 14, "temporal_patch_size": 2, "merge_size": 2,
    "image_mean": [0.48145466, 0.4578275, 0.40821073],
    "image_std": [0.26862954, 0.26130258, 0.27577711]},
  "vocabulary": {"text": 151643,
    "last": ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|object_ref_start|>",
      "<|object_ref_end|>", "<|box_start|>", "<|box_end|>", "<|quad_start|>", "<|quad_end|>",
      "<|vision_start|>", "<|vision_end|>", "<|vision_pad|>", "<|image_pad|>", "<|video_pad|>"],
    "eos_token": "<|im_end|>", "pad_token": "<|endoftext|>",
    "chat_template": [
      "{% for message in messages %}<|im_start|>{{ message['role'] }}\n",
      "{% if message['content'] is string %}{{ message['content'] }}{% else %}",
      "{% for part in message['content'] %}",
      "{% if part['type'] == 'image' %}<|vision_start|><|image_pad|><|vision_end|>",
      "{% elif part['type'] == 'text' %}{{ part['text'] }}{% endif %}{% endfor %}",
      "{% endif %}<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n",
      "{% endif %}"]}
})json";

constexpr const char* kLlava15 = R"json({
  "config.json": {
    "architectures": ["LlavaForConditionalGeneration"], "model_type": "llava",
    "ignore_index": -100, "image_token_index": 32000, "pad_token_id": 32001,
    "projector_hidden_act": "gelu", "tie_word_embeddings": false, "vision_feature_layer": -2,
    "vision_feature_select_strategy": "default", "vocab_size": 32064,
    "text_config": {"architectures": ["LlamaForCausalLM"], "model_type": "llama",
      "bos_token_id": 1, "eos_token_id": 2, "hidden_size": 4096, "intermediate_size": 11008,
      "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 32,
      "max_position_embeddings": 4096, "rms_norm_eps": 1e-05, "rope_theta": 10000.0,
      "vocab_size": 32064},
    "vision_config": {"model_type": "clip_vision_model", "hidden_size": 1024,
      "intermediate_size": 4096, "num_hidden_layers": 24, "num_attention_heads": 16,
      "image_size": 336, "patch_size": 14, "projection_dim": 768, "vocab_size": 32000,
      "hidden_act": "quick_gelu", "layer_norm_eps": 1e-05}},
  "generation_config.json": {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 32001},
  "preprocessor_config.json": {"image_processor_type": "CLIPImageProcessor",
    "processor_class": "LlavaProcessor", "size": {"shortest_edge": 336},
    "crop_size": {"height": 336, "width": 336}, "do_center_crop": true, "do_convert_rgb": true,
    "do_normalize": true, "do_rescale": true, "do_resize": true, "resample": 3,
    "rescale_factor": 0.00392156862745098, "image_mean": [0.48145466, 0.4578275, 0.40821073],
    "image_std": [0.26862954, 0.26130258, 0.27577711]},
  "processor_config.json": {"processor_class": "LlavaProcessor", "image_token": "<image>",
    "num_additional_image_tokens": 1, "patch_size": 14,
    "vision_feature_select_strategy": "default"},
  "vocabulary": {"first": ["<unk>", "<s>", "</s>"], "text": 31997, "last": ["<image>", "<pad>"],
    "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>",
    "chat_template": [
      "{% for message in messages %}",
      "{% if message['role'] != 'system' %}{{ message['role'].upper() + ': ' }}{% endif %}",
      "{% if message['content'] is string %}{{ message['content'] + ' ' }}{% else %}",
      "{% for part in message['content'] %}{% if part['type'] == 'image' %}<image>\n{% endif %}",
      "{% endfor %}{% for part in message['content'] %}",
      "{% if part['type'] == 'text' %}{{ part['text'] + ' ' }}{% endif %}{% endfor %}",
      "{% endif %}{% endfor %}{% if add_generation_prompt %}ASSISTANT:{% endif %}"]}
})json";

constexpr const char* kLlavaInterleave = R"json({
  "config.json": {
    "architectures": ["LlavaForConditionalGeneration"], "model_type": "llava",
    "ignore_index": -100, "image_token_index": 151646, "projector_hidden_act": "gelu",
    "tie_word_embeddings": true, "vision_feature_layer": -1,
    "vision_feature_select_strategy": "full", "vocab_size": 152000,
    "text_config": {"architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2",
      "bos_token_id": 151643, "eos_token_id": 151645, "hidden_size": 1024,
      "intermediate_size": 2816, "num_hidden_layers": 24, "num_attention_heads": 16,
      "num_key_value_heads": 16, "max_position_embeddings": 32768, "max_window_layers": 21,
      "rms_norm_eps": 1e-06, "rope_theta": 1000000.0, "sliding_window": 32768,
      "use_sliding_window": false, "tie_word_embeddings": true, "vocab_size": 152000},
    "vision_config": {"model_type": "siglip_vision_model", "hidden_size": 1152,
      "intermediate_size": 4304, "num_hidden_layers": 26, "num_attention_heads": 16,
      "image_size": 384, "patch_size": 14, "hidden_act": "gelu_pytorch_tanh",
      "layer_norm_eps": 1e-06, "vision_use_head": false}},
  "generation_config.json": {"bos_token_id": 151643, "eos_token_id": [151645, 151643],
    "pad_token_id": 151643},
  "preprocessor_config.json": {"image_processor_type": "SiglipImageProcessor",
    "processor_class": "LlavaProcessor", "size": {"height": 384, "width": 384},
    "do_convert_rgb": true, "do_normalize": true, "do_rescale": true, "do_resize": true,
    "resample": 3, "rescale_factor": 0.00392156862745098, "image_mean": [0.5, 0.5, 0.5],
    "image_std": [0.5, 0.5, 0.5]},
  "processor_config.json": {"processor_class": "LlavaProcessor", "image_token": "<image>",
    "num_additional_image_tokens": 0, "patch_size": 14, "vision_feature_select_strategy": "full"},
  "vocabulary": {"text": 151643, "last": ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<image>"],
    "eos_token": "<|im_end|>", "pad_token": "<|endoftext|>",
    "chat_template": [
      "{% for message in messages %}<|im_start|>{{ message['role'] }}",
      "{% if message['content'] is string %}\n{{ message['content'] }}{% else %}",
      "{% for part in message['content'] %}{% if part['type'] == 'image' %} <image>{% endif %}",
      "{% endfor %}{% for part in message['content'] %}",
      "{% if part['type'] == 'text' %}\n{{ part['text'] }}{% endif %}{% endfor %}",
      "{% endif %}<|im_end|>{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n",
      "{% endif %}"]}
})json";

struct Row {
  const char* name;
  const char* family;
  const char* size;               // what this size has of its own, merged into the family's
  const char* vocabulary = "{}";  // the family whose vocabulary it has, where that is another
};

// One row a checkpoint. The tiny ones keep a family's special tokens behind a text vocabulary of
// 320 words, so that their ids move down.
constexpr std::array kRows = {
    Row{"qwen2_vl-2b", kQwen2Vl, R"json({"config.json": {
      "hidden_size": 1536, "intermediate_size": 8960, "num_hidden_layers": 28,
      "num_attention_heads": 12, "num_key_value_heads": 2, "max_window_layers": 28,
      "vocab_size": 151936, "tie_word_embeddings": true,
      "vision_config": {"hidden_size": 1536}}})json"},
    Row{"qwen2_vl-7b", kQwen2Vl, R"json({"config.json": {
      "hidden_size": 3584, "intermediate_size": 18944, "num_hidden_layers": 28,
      "num_attention_heads": 28, "num_key_value_heads": 4, "max_window_layers": 28,
      "vocab_size": 152064, "tie_word_embeddings": false,
      "vision_config": {"hidden_size": 3584}}})json"},
    Row{"qwen2_vl-tiny", kQwen2Vl, R"json({"config.json": {
      "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2,
      "num_attention_heads": 4, "num_key_value_heads": 2, "max_window_layers": 2,
      "max_position_embeddings": 1024, "vocab_size": 336, "tie_word_embeddings": true,
      "bos_token_id": 320, "eos_token_id": 322, "vision_start_token_id": 329,
      "vision_end_token_id": 330, "vision_token_id": 331, "image_token_id": 332,
      "video_token_id": 333, "rope_scaling": {"type": "mrope", "mrope_section": [2, 3, 3]},
      "vision_config": {"depth": 2, "embed_dim": 32, "num_heads": 2, "hidden_size": 64}},
      "generation_config.json": {"bos_token_id": 320, "pad_token_id": 320,
        "eos_token_id": [322, 320]},
      "preprocessor_config.json": {"max_pixels": 50176}, "vocabulary": {"text": 320}})json"},
    Row{"qwen2_5_vl-3b", kQwen25Vl, R"json({"config.json": {
      "hidden_size": 2048, "intermediate_size": 11008, "num_hidden_layers": 36,
      "num_attention_heads": 16, "num_key_value_heads": 2, "max_window_layers": 70,
      "vocab_size": 151936, "tie_word_embeddings": true,
      "vision_config": {"out_hidden_size": 2048}}})json",
        kQwen2Vl},
    Row{"qwen2_5_vl-tiny", kQwen25Vl, R"json({"config.json": {
      "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2,
      "num_attention_heads": 4, "num_key_value_heads": 2, "max_window_layers": 2,
      "max_position_embeddings": 1024, "vocab_size": 336, "tie_word_embeddings": true,
      "bos_token_id": 320, "eos_token_id": 322, "vision_start_token_id": 329,
      "vision_end_token_id": 330, "vision_token_id": 331, "image_token_id": 332,
      "video_token_id": 333, "rope_scaling": {"type": "mrope", "mrope_section": [2, 3, 3]},
      "vision_config": {"depth": 2, "hidden_size": 32, "intermediate_size": 44, "num_heads": 2,
        "out_hidden_size": 64, "fullatt_block_indexes": [1]}},
      "generation_config.json": {"bos_token_id": 320, "pad_token_id": 320,
        "eos_token_id": [322, 320]},
      "preprocessor_config.json": {"max_pixels": 50176}, "vocabulary": {"text": 320}})json",
        kQwen2Vl},
    Row{"qwen3_vl-2b", kQwen3Vl, "{}", kQwen2Vl},
    Row{"qwen3_vl-30b-a3b", kQwen3Vl, kQwen3Vl30bA3b, kQwen2Vl},
    Row{"qwen3_vl-tiny", kQwen3Vl, R"json({"config.json": {
      "vision_start_token_id": 329, "vision_end_token_id": 330, "image_token_id": 332,
      "video_token_id": 333,
      "text_config": {"bos_token_id": 320, "eos_token_id": 322, "head_dim": 24,
        "hidden_size": 64, "intermediate_size": 128, "max_position_embeddings": 1024,
        "num_attention_heads": 4, "num_hidden_layers": 2, "num_key_value_heads": 2,
        "rope_scaling": {"mrope_section": [6, 3, 3]}, "vocab_size": 336},
      "vision_config": {"deepstack_visual_indexes": [1], "depth": 2, "hidden_size": 32,
        "intermediate_size": 48, "num_heads": 2, "num_position_embeddings": 25,
        "out_hidden_size": 64}},
      "generation_config.json": {"bos_token_id": 320, "pad_token_id": 320,
        "eos_token_id": [322, 320]},
      "preprocessor_config.json": {"size": {"longest_edge": 65536, "shortest_edge": 4096}},
      "vocabulary": {"text": 320}})json",
        kQwen2Vl},
    Row{"llava-1.5-7b", kLlava15, "{}"},
    Row{"llava-interleave-qwen-0.5b", kLlavaInterleave, "{}"},
    Row{"llava-tiny", kLlava15, R"json({"config.json": {
      "image_token_index": 323, "pad_token_id": 324, "vocab_size": 352,
      "text_config": {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2,
        "num_attention_heads": 4, "num_key_value_heads": 4, "max_position_embeddings": 1024,
        "vocab_size": 352},
      "vision_config": {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 3,
        "num_attention_heads": 2, "image_size": 56, "patch_size": 14}},
      "generation_config.json": {"pad_token_id": 324},
      "preprocessor_config.json": {"size": {"shortest_edge": 56},
        "crop_size": {"height": 56, "width": 56}},
      "vocabulary": {"text": 320}})json"},
    Row{"gemma3-4b", kGemma3, "{}"},
    Row{"gemma3-tiny", kGemma3, R"json({"config.json": {
      "boi_token_index": 427, "eoi_token_index": 428, "image_token_index": 432,
      "mm_tokens_per_image": 4,
      "text_config": {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2,
        "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16, "vocab_size": 448,
        "max_position_embeddings": 1024, "query_pre_attn_scalar": 16, "sliding_window": 32,
        "sliding_window_pattern": 2},
      "vision_config": {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2,
        "num_attention_heads": 2, "image_size": 56}},
      "preprocessor_config.json": {"image_seq_length": 4, "size": {"height": 56, "width": 56}},
      "processor_config.json": {"image_seq_length": 4},
      "vocabulary": {"text": 320,
        "last": ["<start_of_image>", "<end_of_image>", 3, "<image_soft_token>"]}})json"},
    Row{"mllama-11b", kMllama, "{}"},
    Row{"mllama-tiny", kMllama, R"json({"config.json": {
      "image_token_index": 331,
      "text_config": {"bos_token_id": 320, "cross_attention_layers": [1], "eos_token_id": [329],
        "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 3,
        "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 1024,
        "pad_token_id": 324, "vocab_size": 331},
      "vision_config": {"attention_heads": 2, "hidden_size": 64, "image_size": 56,
        "intermediate_layers_indices": [0, 1], "intermediate_size": 128, "num_global_layers": 1,
        "num_hidden_layers": 2, "vision_output_dim": 192}},
      "generation_config.json": {"bos_token_id": 320, "eos_token_id": [329], "pad_token_id": 324},
      "preprocessor_config.json": {"size": {"height": 56, "width": 56}},
      "vocabulary": {"text": 320, "last": ["<|begin_of_text|>", "<|end_of_text|>", 2,
        "<|finetune_right_pad_id|>", 1, "<|start_header_id|>", "<|end_header_id|>", "<|eom_id|>",
        "<|eot_id|>", "<|python_tag|>", "<|image|>"]}})json"},
    Row{"paligemma-3b", kPaliGemma, "{}"},
    Row{"paligemma-tiny", kPaliGemma, R"json({"config.json": {
      "hidden_size": 64, "image_token_index": 324, "projection_dim": 64, "vocab_size": 352,
      "text_config": {"hidden_size": 64, "intermediate_size": 128, "num_attention_heads": 4,
        "num_hidden_layers": 2, "num_image_tokens": 16, "head_dim": 16, "vocab_size": 352,
        "max_position_embeddings": 1024},
      "vision_config": {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2,
        "num_attention_heads": 2, "num_image_tokens": 16, "image_size": 56,
        "projection_dim": 64}},
      "preprocessor_config.json": {"image_seq_length": 16, "size": {"height": 56, "width": 56}},
      "vocabulary": {"text": 320}})json"},
    Row{"smolvlm-256m", kSmolVlm, "{}"},
    Row{"idefics3-tiny", kSmolVlm, R"json({"config.json": {
      "image_token_id": 375, "scale_factor": 2, "vocab_size": 480,
      "text_config": {"head_dim": 16, "hidden_size": 64, "intermediate_size": 128,
        "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
        "max_position_embeddings": 1024, "vocab_size": 480},
      "vision_config": {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2,
        "num_attention_heads": 2, "image_size": 32, "patch_size": 8,
        "max_image_size": {"longest_edge": 32}, "size": {"longest_edge": 64}}},
      "generation_config.json": {"eos_token_id": 464},
      "preprocessor_config.json": {"max_image_size": {"longest_edge": 32},
        "size": {"longest_edge": 64}},
      "processor_config.json": {"image_seq_len": 4}, "vocabulary": {"text": 320}})json"},
    Row{"llava-v1.6-mistral-7b", kLlavaNext, "{}"},
    Row{"llava_next-tiny", kLlavaNext, R"json({"config.json": {
      "image_token_index": 323, "vocab_size": 352,
      "image_grid_pinpoints": [[56, 112], [112, 56], [112, 112]],
      "text_config": {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2,
        "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 1024,
        "vocab_size": 352},
      "vision_config": {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 3,
        "num_attention_heads": 2, "image_size": 56, "patch_size": 14}},
      "generation_config.json": {"pad_token_id": 324},
      "preprocessor_config.json": {"size": {"shortest_edge": 56},
        "crop_size": {"height": 56, "width": 56},
        "image_grid_pinpoints": [[56, 112], [112, 56], [112, 112]]},
      "vocabulary": {"text": 320}})json"},
    Row{"internvl_chat-2.5-1b", kInternVl, "{}"},
    Row{"internvl_chat-tiny", kInternVl, R"json({"config.json": {
      "force_image_size": 56, "max_dynamic_patch": 4,
      "llm_config": {"bos_token_id": 320, "eos_token_id": 322, "hidden_size": 64,
        "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4,
        "num_key_value_heads": 2, "max_position_embeddings": 1024, "max_window_layers": 2,
        "vocab_size": 352},
      "vision_config": {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2,
        "num_attention_heads": 2, "image_size": 56}},
      "generation_config.json": {"eos_token_id": [322, 320]},
      "preprocessor_config.json": {"crop_size": 56, "size": 56},
      "vocabulary": {"text": 320}})json"},
    Row{"nanollava", kNanoLlava, "{}"},
    Row{"nanollava-tiny", kNanoLlava, R"json({"config.json": {
      "bos_token_id": 320, "eos_token_id": 322, "hidden_size": 64, "intermediate_size": 128,
      "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 4,
      "max_position_embeddings": 1024, "max_window_layers": 2, "mm_hidden_size": 64,
      "vocab_size": 352,
      "vision_config": {"model_type": "siglip_vision_model", "hidden_size": 64,
        "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 2,
        "image_size": 56, "patch_size": 14}},
      "generation_config.json": {"eos_token_id": 322}, "vocabulary": {"text": 320}})json"},
    Row{"pixtral-12b", kPixtral, R"json({"config.json": {
      "architectures": ["LlavaForConditionalGeneration"], "model_type": "pixtral",
      "image_seq_length": 1, "vision_feature_select_strategy": "full",
      "text_config": {"intermediate_size": 14336, "max_position_embeddings": 1024000},
      "vision_config": {"image_size": 1024, "patch_size": 16}},
      "preprocessor_config.json": {"patch_size": {"height": 16, "width": 16},
        "size": {"longest_edge": 1024}},
      "processor_config.json": {"patch_size": 16}})json"},
    Row{"pixtral-tiny", kPixtral, R"json({"config.json": {
      "architectures": ["LlavaForConditionalGeneration"], "model_type": "pixtral",
      "vision_feature_select_strategy": "full",
      "text_config": {"head_dim": 32, "hidden_size": 64, "intermediate_size": 128,
        "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
        "max_position_embeddings": 1024, "vocab_size": 352},
      "vision_config": {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2,
        "num_attention_heads": 2, "image_size": 56, "patch_size": 14}},
      "preprocessor_config.json": {"size": {"longest_edge": 56}},
      "processor_config.json": {"patch_size": 14}, "vocabulary": {"text": 320}})json"},
    Row{"mistral3-small-3.1-24b", kPixtral, R"json({"config.json": {
      "architectures": ["Mistral3ForConditionalGeneration"], "model_type": "mistral3",
      "multimodal_projector_bias": false, "spatial_merge_size": 2,
      "text_config": {"intermediate_size": 32768, "max_position_embeddings": 131072},
      "vision_config": {"image_size": 1540, "patch_size": 14}},
      "preprocessor_config.json": {"patch_size": 14, "size": {"longest_edge": 1540}},
      "processor_config.json": {"patch_size": 14, "spatial_merge_size": 2}})json"},
    Row{"mistral3-tiny", kPixtral, R"json({"config.json": {
      "architectures": ["Mistral3ForConditionalGeneration"], "model_type": "mistral3",
      "multimodal_projector_bias": false, "spatial_merge_size": 2,
      "text_config": {"head_dim": 32, "hidden_size": 64, "intermediate_size": 128,
        "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
        "max_position_embeddings": 1024, "vocab_size": 352},
      "vision_config": {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2,
        "num_attention_heads": 2, "image_size": 56, "patch_size": 14}},
      "preprocessor_config.json": {"size": {"longest_edge": 56}},
      "processor_config.json": {"patch_size": 14, "spatial_merge_size": 2},
      "vocabulary": {"text": 320}})json"},
    Row{"phi3_v-3.5", kPhi35Vision, "{}"},
    Row{"phi3_v-tiny", kPhi35Vision, R"json({"config.json": {
      "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2,
      "num_attention_heads": 4, "num_key_value_heads": 4, "max_position_embeddings": 1024,
      "original_max_position_embeddings": 64, "vocab_size": 352,
      "rope_scaling": {"short_factor": [1, 1.1, 1.2, 1.3, 1.4, 1.5, 1.6, 1.7],
        "long_factor": [1, 1.5, 2, 3, 4, 6, 8, 12]},
      "vision_config": {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 3,
        "num_attention_heads": 2, "image_size": 56, "patch_size": 14}},
      "generation_config.json": {"eos_token_id": [330, 324, 323], "pad_token_id": 323},
      "preprocessor_config.json": {"num_img_tokens": 4}, "vocabulary": {"text": 320}})json"},
    Row{"whisper-tiny", kWhisper, R"json({"config.json": {
      "d_model": 384, "encoder_layers": 4, "encoder_attention_heads": 6, "encoder_ffn_dim": 1536,
      "decoder_layers": 4, "decoder_attention_heads": 6, "decoder_ffn_dim": 1536}})json"},
    Row{"whisper-base", kWhisper, R"json({"config.json": {
      "d_model": 512, "encoder_layers": 6, "encoder_attention_heads": 8, "encoder_ffn_dim": 2048,
      "decoder_layers": 6, "decoder_attention_heads": 8, "decoder_ffn_dim": 2048}})json"},
    Row{"whisper-small", kWhisper, R"json({"config.json": {
      "d_model": 768, "encoder_layers": 12, "encoder_attention_heads": 12,
      "encoder_ffn_dim": 3072, "decoder_layers": 12, "decoder_attention_heads": 12,
      "decoder_ffn_dim": 3072}})json"},
};

}  // namespace

Json merged(const Json& base, const Json& changes) {
  if (!base.is_object() || !changes.is_object()) return changes;
  JsonObject object;
  for (const auto& key : base.keys()) {
    object.set(key, changes.contains(key) ? merged(base[key], changes[key]) : base[key]);
  }
  for (const auto& key : changes.keys()) {
    if (!base.contains(key)) object.set(key, changes[key]);
  }
  return object.freeze(base.where());
}

SynthShape with_decoder_layers(const SynthShape& shape, int layers) {
  const Json config = shape.files["config.json"];
  const auto fewer = [&](const Json& text) {
    JsonObject change;
    for (const char* key : {"num_hidden_layers", "decoder_layers"}) {
      if (text[key].is_number()) change.set(key, std::min(layers, text[key].as_int32()));
    }
    return change;
  };
  JsonObject change = fewer(config);
  for (const char* part : {"text_config", "llm_config"}) {
    if (config[part].is_object()) change.set(part, fewer(config[part]));
  }
  JsonObject files;
  files.set("config.json", change);
  return {shape.name, merged(shape.files, files.freeze(shape.name)), shape.vocabulary};
}

std::vector<std::string> synth_shape_names() {
  std::vector<std::string> names;
  for (const auto& row : kRows) names.emplace_back(row.name);
  return names;
}

SynthShape synth_shape(const std::string& name) {
  for (const auto& row : kRows) {
    if (name != row.name) continue;
    JsonObject base;
    const Json vocabulary = Json::parse(row.vocabulary, name)["vocabulary"];
    if (!vocabulary.is_null()) base.set("vocabulary", vocabulary);
    const Json family = merged(base.freeze(name), Json::parse(row.family, name));
    const Json all = merged(family, Json::parse(row.size, name));
    JsonObject files;
    for (const auto& key : all.keys()) {
      if (key != "vocabulary") files.set(key, all[key]);
    }
    return {name, files.freeze(name), all["vocabulary"]};
  }
  fail(ErrorKind::kInvalidArgument, "[synth] expected a shape among {} but got {}",
       fmt::join(synth_shape_names(), ", "), name.empty() ? "none" : "'" + name + "'");
}

}  // namespace fovea::cli

"""tests/fixtures/parity/llava: CLIP tower and llama decoder; SigLIP tower and qwen2 decoder."""

import json
import shutil
import sys
import tempfile
from pathlib import Path

import numpy as np

from parity_cases import test_picture, two_turns, user, write_case
from tiny_checkpoint import write_hugging_face, write_mlx
from tiny_tokenizers import byte_level_bpe, sentencepiece_bpe

SEED = 31

CLIP_TEMPLATE = (
    "{% for message in messages %}"
    "{% if message['role'] == 'system' %}{{ message['content'][0]['text'] if message['content'] is not "
    "string else message['content'] }} {% else %}"
    "{{ message['role'].upper() + ': ' }}"
    "{% if message['content'] is string %}{{ message['content'] + ' ' }}{% else %}"
    "{# pictures first #}{% for content in message['content'] | selectattr('type', 'equalto', 'image') %}"
    "{{ '<image>\n' }}{% endfor %}"
    "{% for content in message['content'] | selectattr('type', 'equalto', 'text') %}"
    "{{ content['text'] + ' ' }}{% endfor %}{% endif %}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ 'ASSISTANT:' }}{% endif %}"
)
SIGLIP_TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' }}"
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}"
    "{% for content in message['content'] %}{% if content['type'] == 'image' %}{{ '<image>' }}"
    "{% else %}{{ content['text'] }}{% endif %}{% endfor %}{% endif %}{{ '<|im_end|>' + '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


def sidecars(tokenizer, config, image_processor, processor, tokens, template):
    """The small files beside the weights."""
    return {
        "generation_config.json": {
            "_from_model_config": True,
            "bos_token_id": 1,
            "max_length": 512,
            "eos_token_id": config["text_config"]["eos_token_id"],
        },
        "preprocessor_config.json": image_processor,
        "processor_config.json": processor,
        "special_tokens_map.json": tokens,
        "tokenizer.json": json.loads(tokenizer.to_str()),
        "tokenizer_config.json": {
            **tokens,
            "clean_up_tokenization_spaces": False,
            "model_max_length": 512,
            "tokenizer_class": "PreTrainedTokenizerFast",
            "chat_template": template,
        },
    }


def clip_llama():
    tokenizer = sentencepiece_bpe(368, specials=["<image>", "<pad>"])
    config = {
        "architectures": ["LlavaForConditionalGeneration"],
        "ignore_index": -100,
        "image_token_index": tokenizer.token_to_id("<image>"),
        "model_type": "llava",
        "pad_token_id": tokenizer.token_to_id("<pad>"),
        "projector_hidden_act": "gelu",
        "text_config": {
            "architectures": ["LlamaForCausalLM"],
            "model_type": "llama",
            "hidden_size": 64,
            "intermediate_size": 64,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "num_key_value_heads": 4,
            "rms_norm_eps": 1e-05,
            "max_position_embeddings": 512,
            "bos_token_id": 1,
            "eos_token_id": 2,
            "vocab_size": 384,
            "torch_dtype": "float32",
        },
        "tie_word_embeddings": False,
        "torch_dtype": "float32",
        "vision_config": {
            "model_type": "clip_vision_model",
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "image_size": 32,
            "patch_size": 8,
            "projection_dim": 32,
            "vocab_size": 384,
            "hidden_act": "quick_gelu",
            "layer_norm_eps": 1e-05,
        },
        "vision_feature_layer": -2,
        "vision_feature_select_strategy": "default",
        "vocab_size": 384,
    }
    image_processor = {
        "crop_size": {"height": 32, "width": 32},
        "do_center_crop": True,
        "do_convert_rgb": True,
        "do_normalize": True,
        "do_rescale": True,
        "do_resize": True,
        "image_mean": [0.48145466, 0.4578275, 0.40821073],
        "image_processor_type": "CLIPImageProcessor",
        "image_std": [0.26862954, 0.26130258, 0.27577711],
        "processor_class": "LlavaProcessor",
        "resample": 3,
        "rescale_factor": 0.00392156862745098,
        "size": {"shortest_edge": 32},
    }
    processor = {
        "image_token": "<image>",
        "num_additional_image_tokens": 1,
        "patch_size": 8,
        "processor_class": "LlavaProcessor",
        "vision_feature_select_strategy": "default",
    }
    tokens = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"}
    return config, sidecars(tokenizer, config, image_processor, processor, tokens, CLIP_TEMPLATE)


def siglip_qwen2():
    specials = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<image>"]
    tokenizer = byte_level_bpe(300, specials)
    config = {
        "architectures": ["LlavaForConditionalGeneration"],
        "ignore_index": -100,
        "image_token_index": tokenizer.token_to_id("<image>"),
        "model_type": "llava",
        "pad_token_id": tokenizer.token_to_id("<|endoftext|>"),
        "projector_hidden_act": "gelu",
        "text_config": {
            "architectures": ["Qwen2ForCausalLM"],
            "model_type": "qwen2",
            "hidden_size": 64,
            "intermediate_size": 64,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "num_key_value_heads": 1,
            "rms_norm_eps": 1e-06,
            "rope_theta": 1000000.0,
            "rope_scaling": {"type": "linear", "factor": 2.0},
            "max_position_embeddings": 512,
            "tie_word_embeddings": True,
            "vocab_size": 304,
            "use_sliding_window": False,
            "bos_token_id": tokenizer.token_to_id("<|endoftext|>"),
            "eos_token_id": tokenizer.token_to_id("<|im_end|>"),
            "torch_dtype": "float32",
        },
        "tie_word_embeddings": True,
        "torch_dtype": "float32",
        "vision_config": {
            "model_type": "siglip_vision_model",
            "hidden_size": 32,
            "intermediate_size": 48,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "image_size": 32,
            "patch_size": 8,
            "hidden_act": "quick_gelu",
            "layer_norm_eps": 1e-06,
            "vision_use_head": False,
        },
        "vision_feature_layer": -1,
        "vision_feature_select_strategy": "full",
        "vocab_size": 304,
    }
    image_processor = {
        "do_convert_rgb": True,
        "do_normalize": True,
        "do_rescale": True,
        "do_resize": True,
        "image_mean": [0.5, 0.5, 0.5],
        "image_processor_type": "SiglipImageProcessor",
        "image_std": [0.5, 0.5, 0.5],
        "processor_class": "LlavaProcessor",
        "resample": 3,
        "rescale_factor": 0.00392156862745098,
        "size": {"height": 32, "width": 32},
    }
    processor = {
        "image_token": "<image>",
        "num_additional_image_tokens": 0,
        "patch_size": 8,
        "processor_class": "LlavaProcessor",
        "vision_feature_select_strategy": "full",
    }
    tokens = {"eos_token": "<|im_end|>", "pad_token": "<|endoftext|>"}
    return config, sidecars(tokenizer, config, image_processor, processor, tokens, SIGLIP_TEMPLATE)


def buffers():
    """Buffers that older checkpoints carry and a loader must pass over."""
    return {
        "vision_tower.vision_model.embeddings.position_ids": np.arange(17, dtype=np.int64)[None],
        "language_model.model.layers.0.self_attn.rotary_emb.inv_freq": np.ones(8, np.float32),
    }


def cases():
    """name -> (checkpoint, messages for a question, pictures)"""
    one = {"picture.png": test_picture(45, 37, 1)}
    two = {"first.png": test_picture(30, 50, 2), "second.png": test_picture(64, 20, 3)}
    return {
        "clip_one_picture": ("clip-llama-hf-f32", user, one),
        "clip_two_pictures": ("clip-llama-hf-f32", user, two),
        "clip_tiny_picture": ("clip-llama-hf-f32", user, {"picture.png": test_picture(1, 1, 4)}),
        "clip_wide_picture": ("clip-llama-hf-f32", user, {"picture.png": test_picture(190, 9, 5)}),
        "clip_tall_picture": ("clip-llama-hf-f32", user, {"picture.png": test_picture(7, 150, 6)}),
        "clip_text_only": ("clip-llama-hf-f32", user, {}),
        "clip_two_turns": ("clip-llama-hf-f32", two_turns, one),
        "clip_one_picture_4bit": ("clip-llama-mlx-4bit-8bit", user, one),
        "siglip_one_picture": ("siglip-qwen2-mlx-f32", user, one),
        "siglip_two_pictures": ("siglip-qwen2-mlx-f32", user, two),
        "siglip_tall_picture": (
            "siglip-qwen2-mlx-f32",
            user,
            {"picture.png": test_picture(7, 150, 6)},
        ),
    }


def main(root):
    folder = Path(root) / "parity" / "llava"
    shutil.rmtree(folder, ignore_errors=True)
    checkpoints = folder / "checkpoints"
    config, files = clip_llama()
    write_hugging_face(checkpoints / "clip-llama-hf-f32", config, files, str, SEED, extra=buffers())
    write_mlx(
        checkpoints / "clip-llama-hf-f32",
        checkpoints / "clip-llama-mlx-4bit-8bit",
        dtype="bfloat16",
        quantize=True,
        q_group_size=64,
        quant_predicate="mixed_4_8",
    )
    config, files = siglip_qwen2()
    with tempfile.TemporaryDirectory() as scratch:
        write_hugging_face(Path(scratch) / "hf", config, files, str, SEED)
        write_mlx(Path(scratch) / "hf", checkpoints / "siglip-qwen2-mlx-f32", dtype="float32")
    for name, (checkpoint, ask, pictures) in cases().items():
        write_case(folder, checkpoint, name, ask, pictures, SEED)


if __name__ == "__main__":
    main(sys.argv[1])

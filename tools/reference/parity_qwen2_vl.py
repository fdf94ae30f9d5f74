"""tests/fixtures/parity/qwen2_vl"""

import json
import shutil
import sys
import tempfile
from pathlib import Path

from parity_cases import test_picture, two_turns, user, write_case
from tiny_checkpoint import write_hugging_face, write_mlx
from tiny_tokenizers import byte_level_bpe

SEED = 20

CHAT_TEMPLATE = (
    "{% set image_count = namespace(value=0) %}{% for message in messages %}"
    "{% if loop.first and message['role'] != 'system' %}"
    "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n{% endif %}"
    "<|im_start|>{{ message['role'] }}\n"
    "{% if message['content'] is string %}{{ message['content'] }}<|im_end|>\n{% else %}"
    "{% for content in message['content'] %}"
    "{% if content['type'] == 'image' or 'image' in content or 'image_url' in content %}"
    "{% set image_count.value = image_count.value + 1 %}"
    "{% if add_vision_id %}Picture {{ image_count.value }}: {% endif %}"
    "<|vision_start|><|image_pad|><|vision_end|>"
    "{% elif 'text' in content %}{{ content['text'] }}{% endif %}{% endfor %}<|im_end|>\n{% endif %}"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def sidecars(tokenizer):
    number = tokenizer.token_to_id
    config = {
        "architectures": ["Qwen2VLForConditionalGeneration"],
        "attention_dropout": 0.0,
        "bos_token_id": number("<|endoftext|>"),
        "eos_token_id": number("<|im_end|>"),
        "vision_start_token_id": number("<|vision_start|>"),
        "vision_end_token_id": number("<|vision_end|>"),
        "vision_token_id": number("<|vision_pad|>"),
        "image_token_id": number("<|image_pad|>"),
        "video_token_id": number("<|video_pad|>"),
        "hidden_act": "silu",
        "hidden_size": 64,
        "initializer_range": 0.02,
        "intermediate_size": 128,
        "max_position_embeddings": 512,
        "max_window_layers": 2,
        "model_type": "qwen2_vl",
        "num_attention_heads": 4,
        "num_hidden_layers": 2,
        "num_key_value_heads": 2,
        "rms_norm_eps": 1e-06,
        "rope_theta": 1000000.0,
        "sliding_window": 512,
        "tie_word_embeddings": True,
        "torch_dtype": "float32",
        "transformers_version": "4.41.2",
        "use_cache": True,
        "use_sliding_window": False,
        "vision_config": {
            "depth": 2,
            "embed_dim": 32,
            "mlp_ratio": 2,
            "num_heads": 2,
            "in_chans": 3,
            "hidden_size": 64,
            "patch_size": 8,
            "spatial_merge_size": 2,
            "spatial_patch_size": 8,
            "temporal_patch_size": 2,
            "model_type": "qwen2_vl",
        },
        "rope_scaling": {"type": "mrope", "mrope_section": [2, 3, 3]},
        "vocab_size": 320,
    }
    return config, {
        "generation_config.json": {
            "bos_token_id": config["bos_token_id"],
            "pad_token_id": number("<|endoftext|>"),
            "do_sample": True,
            "temperature": 0.01,
            "top_k": 1,
            "top_p": 0.001,
            "eos_token_id": [number("<|im_end|>"), number("<|endoftext|>")],
        },
        "preprocessor_config.json": {
            "min_pixels": 768,
            "max_pixels": 2304,
            "patch_size": 8,
            "temporal_patch_size": 2,
            "merge_size": 2,
            "image_mean": [0.48145466, 0.4578275, 0.40821073],
            "image_std": [0.26862954, 0.26130258, 0.27577711],
            "image_processor_type": "Qwen2VLImageProcessor",
            "processor_class": "Qwen2VLProcessor",
        },
        "tokenizer.json": json.loads(tokenizer.to_str()),
        "tokenizer_config.json": {
            "add_prefix_space": False,
            "bos_token": None,
            "eos_token": "<|im_end|>",
            "pad_token": "<|endoftext|>",
            "unk_token": None,
            "split_special_tokens": False,
            "clean_up_tokenization_spaces": False,
            "errors": "replace",
            "model_max_length": 512,
            "tokenizer_class": "PreTrainedTokenizerFast",
            "chat_template": CHAT_TEMPLATE,
        },
    }


def to_hf_name(name):
    if name.startswith("vision_tower."):
        return name.replace("vision_tower.", "visual.", 1)
    return name.replace("language_model.", "", 1)


def cases():
    """name -> (checkpoint, messages for a question, pictures)"""
    one = {"picture.png": test_picture(45, 37, 1)}
    return {
        "one_picture": ("hf-f32", user, one),
        "two_pictures": (
            "hf-f32",
            user,
            {"first.png": test_picture(30, 50, 2), "second.png": test_picture(64, 20, 3)},
        ),
        "tiny_picture": ("hf-f32", user, {"picture.png": test_picture(1, 1, 4)}),
        "wide_picture": ("hf-f32", user, {"picture.png": test_picture(190, 9, 5)}),
        "tall_picture": ("hf-f32", user, {"picture.png": test_picture(7, 150, 6)}),
        "text_only": ("hf-f32", user, {}),
        "two_turns": ("hf-f32", two_turns, one),
        "one_picture_bf16": ("mlx-bf16", user, one),
        "one_picture_4bit": ("mlx-4bit", user, one),
        "one_picture_float_modes": ("mlx-float-modes", user, one),
        "one_picture_untied": ("mlx-f16-untied", user, one),
    }


def float_mode(path, module):
    """Every mode of floats in one checkpoint; the vision tower stays plain."""
    if "vision_tower" in path or not hasattr(module, "to_quantized"):
        return False
    if "embed_tokens" in path or "mlp" in path:
        return {"group_size": 32, "bits": 8, "mode": "mxfp8"}
    if "layers.1." in path:
        return {"group_size": 16, "bits": 4, "mode": "nvfp4"}
    return {"group_size": 32, "bits": 4, "mode": "mxfp4"}


def main(root):
    folder = Path(root) / "parity" / "qwen2_vl"
    shutil.rmtree(folder, ignore_errors=True)
    config, files = sidecars(byte_level_bpe(312))
    checkpoints = folder / "checkpoints"
    write_hugging_face(
        checkpoints / "hf-f32", config, files, to_hf_name, SEED, shards=2, bf16_values=True
    )
    write_mlx(checkpoints / "hf-f32", checkpoints / "mlx-bf16", dtype="bfloat16")
    write_mlx(
        checkpoints / "hf-f32",
        checkpoints / "mlx-4bit",
        dtype="bfloat16",
        quantize=True,
        q_group_size=64,
        q_bits=4,
    )
    write_mlx(
        checkpoints / "hf-f32",
        checkpoints / "mlx-float-modes",
        dtype="bfloat16",
        quantize=True,
        q_group_size=32,
        q_bits=4,
        q_mode="mxfp4",
        quant_predicate=float_mode,
    )
    config = {**config, "tie_word_embeddings": False, "num_hidden_layers": 1}
    config["vision_config"] = {**config["vision_config"], "depth": 1}
    with tempfile.TemporaryDirectory() as scratch:
        write_hugging_face(Path(scratch) / "hf", config, files, to_hf_name, SEED)
        write_mlx(Path(scratch) / "hf", checkpoints / "mlx-f16-untied", dtype="float16")
    for name, (checkpoint, ask, pictures) in cases().items():
        write_case(folder, checkpoint, name, ask, pictures, SEED)


if __name__ == "__main__":
    main(sys.argv[1])

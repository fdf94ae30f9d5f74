"""tests/fixtures/parity/qwen3_vl"""

import shutil
import sys
from pathlib import Path

import parity_qwen2_vl
from parity_cases import test_picture, two_turns, user, write_case
from tiny_checkpoint import write_hugging_face, write_mlx
from tiny_tokenizers import byte_level_bpe

SEED = 39


def vision_config():
    return {
        "model_type": "qwen3_vl",
        "deepstack_visual_indexes": [0, 1],
        "depth": 2,
        "hidden_act": "gelu_pytorch_tanh",
        "hidden_size": 16,
        "in_channels": 3,
        "initializer_range": 0.02,
        "intermediate_size": 24,
        "num_heads": 2,
        "num_position_embeddings": 25,
        "out_hidden_size": 64,
        "patch_size": 4,
        "spatial_merge_size": 2,
        "temporal_patch_size": 2,
    }


def text_config(number):
    return {
        "model_type": "qwen3_vl_text",
        "attention_bias": False,
        "attention_dropout": 0.0,
        "bos_token_id": number("<|endoftext|>"),
        "eos_token_id": number("<|im_end|>"),
        "head_dim": 24,
        "hidden_act": "silu",
        "hidden_size": 64,
        "initializer_range": 0.02,
        "intermediate_size": 64,
        "max_position_embeddings": 512,
        "num_attention_heads": 4,
        "num_hidden_layers": 2,
        "num_key_value_heads": 2,
        "rms_norm_eps": 1e-06,
        "rope_scaling": {
            "mrope_interleaved": True,
            "mrope_section": [6, 3, 3],
            "rope_type": "default",
        },
        "rope_theta": 5000000,
        "tie_word_embeddings": True,
        "use_cache": True,
        "vocab_size": 304,
    }


def sidecars(tokenizer):
    number = tokenizer.token_to_id
    _, files = parity_qwen2_vl.sidecars(tokenizer)
    config = {
        "architectures": ["Qwen3VLForConditionalGeneration"],
        "model_type": "qwen3_vl",
        "image_token_id": number("<|image_pad|>"),
        "video_token_id": number("<|video_pad|>"),
        "vision_start_token_id": number("<|vision_start|>"),
        "vision_end_token_id": number("<|vision_end|>"),
        "tie_word_embeddings": True,
        "text_config": text_config(number),
        "vision_config": vision_config(),
    }
    files["preprocessor_config.json"] = {
        "size": {"longest_edge": 1536, "shortest_edge": 256},
        "patch_size": 4,
        "temporal_patch_size": 2,
        "merge_size": 2,
        "image_mean": [0.5, 0.5, 0.5],
        "image_std": [0.5, 0.5, 0.5],
        "image_processor_type": "Qwen2VLImageProcessorFast",
        "processor_class": "Qwen3VLProcessor",
    }
    return config, files


def to_hf_name(name):
    if name.startswith("vision_tower."):
        return name.replace("vision_tower.", "model.visual.", 1)
    if name.startswith("language_model.model."):
        return name.replace("language_model.model.", "model.language_model.", 1)
    return name.removeprefix("language_model.")


def cases():
    """name -> (checkpoint, messages for a question, pictures)"""
    one = {"picture.png": test_picture(45, 37, 1)}
    two = {"first.png": test_picture(30, 50, 2), "second.png": test_picture(64, 20, 3)}
    return {
        "one_picture": ("hf-f32", user, one),
        "two_pictures": ("hf-f32", user, two),
        "tiny_picture": ("hf-f32", user, {"picture.png": test_picture(1, 1, 4)}),
        "wide_picture": ("hf-f32", user, {"picture.png": test_picture(190, 9, 5)}),
        "tall_picture": ("hf-f32", user, {"picture.png": test_picture(7, 150, 6)}),
        "text_only": ("hf-f32", user, {}),
        "two_turns": ("hf-f32", two_turns, one),
        "one_picture_4bit": ("mlx-4bit", user, one),
    }


def write_family(folder, config, files, seed, released=None):
    """Both checkpoints and all cases: qwen3_vl_moe has the same."""
    shutil.rmtree(folder, ignore_errors=True)
    checkpoints = folder / "checkpoints"
    write_hugging_face(
        checkpoints / "hf-f32", config, files, to_hf_name, seed, released=released
    )
    write_mlx(
        checkpoints / "hf-f32",
        checkpoints / "mlx-4bit",
        dtype="bfloat16",
        quantize=True,
        q_group_size=64,
        q_bits=4,
    )
    full = ("one_picture", "one_picture_4bit")
    for name, (checkpoint, ask, pictures) in cases().items():
        brief = name not in full
        write_case(folder, checkpoint, name, ask, pictures, seed, brief, enough=0.12)


def main(root):
    config, files = sidecars(byte_level_bpe(296))
    write_family(Path(root) / "parity" / "qwen3_vl", config, files, SEED)


if __name__ == "__main__":
    main(sys.argv[1])

"""tests/fixtures/parity/qwen2_5_vl"""

import shutil
import sys
from pathlib import Path

import parity_qwen2_vl
from parity_cases import test_picture, two_turns, user, write_case
from parity_qwen2_vl import to_hf_name
from tiny_checkpoint import write_hugging_face, write_mlx
from tiny_tokenizers import byte_level_bpe

SEED = 27


def sidecars(tokenizer):
    """Those of parity_qwen2_vl with the newer tower: the first block's windows are of 2 x 2 units."""
    config, files = parity_qwen2_vl.sidecars(tokenizer)
    config = {
        **config,
        "architectures": ["Qwen2_5_VLForConditionalGeneration"],
        "model_type": "qwen2_5_vl",
        "num_key_value_heads": 1,
        "intermediate_size": 64,
        "vocab_size": 304,
        "vision_config": {
            "model_type": "qwen2_5_vl",
            "depth": 2,
            "hidden_act": "silu",
            "hidden_size": 32,
            "intermediate_size": 44,
            "num_heads": 2,
            "in_chans": 3,
            "out_hidden_size": 64,
            "patch_size": 4,
            "spatial_merge_size": 2,
            "spatial_patch_size": 4,
            "temporal_patch_size": 2,
            "tokens_per_second": 2,
            "window_size": 16,
            "fullatt_block_indexes": [1],
        },
    }
    processor = {
        **files["preprocessor_config.json"],
        "patch_size": 4,
        "min_pixels": 256,
        "max_pixels": 1536,
        "processor_class": "Qwen2_5_VLProcessor",
    }
    return config, {**files, "preprocessor_config.json": processor}


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


def main(root):
    folder = Path(root) / "parity" / "qwen2_5_vl"
    shutil.rmtree(folder, ignore_errors=True)
    config, files = sidecars(byte_level_bpe(296))
    checkpoints = folder / "checkpoints"
    write_hugging_face(checkpoints / "hf-f32", config, files, to_hf_name, SEED)
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
        write_case(folder, checkpoint, name, ask, pictures, SEED, brief, enough=0.12)


if __name__ == "__main__":
    main(sys.argv[1])

"""tests/fixtures/parity/qwen3_vl"""

import sys
from pathlib import Path

import parity_qwen2_vl
from case_files import ONE, Case, usual_cases
from parity_cases import write_family
from parity_qwen2_vl import PATCH, picture_settings, special_ids
from sidecars import HALF, small
from tiny_tokenizers import byte_level_bpe

SEED = 41


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
        "out_hidden_size": 32,
        "patch_size": PATCH,
        "spatial_merge_size": 2,
        "temporal_patch_size": 2,
    }


def text_config(number):
    return {
        **small("qwen3_vl_text", intermediate_size=32),
        "attention_bias": False,
        "attention_dropout": 0.0,
        "bos_token_id": number("<|endoftext|>"),
        "eos_token_id": number("<|im_end|>"),
        "head_dim": 24,
        "hidden_act": "silu",
        "initializer_range": 0.02,
        "rms_norm_eps": 1e-06,
        "rope_scaling": {
            "mrope_interleaved": True,
            "mrope_section": [6, 3, 3],
            "rope_type": "default",
        },
        "rope_theta": 5000000,
        "tie_word_embeddings": True,
        "use_cache": True,
        "vocab_size": 288,
    }


def sidecars(tokenizer):
    _, files = parity_qwen2_vl.sidecars(tokenizer)
    config = {
        **special_ids(tokenizer),
        "architectures": ["Qwen3VLForConditionalGeneration"],
        "model_type": "qwen3_vl",
        "tie_word_embeddings": True,
        "text_config": text_config(tokenizer.token_to_id),
        "vision_config": vision_config(),
    }
    files["preprocessor_config.json"] = picture_settings(
        "Qwen3VL",
        "Qwen2VLImageProcessorFast",
        size={"longest_edge": 384, "shortest_edge": 256},
        image_mean=HALF,
        image_std=HALF,
    )
    return config, files


def to_hf_name(name):
    if name.startswith("vision_tower."):
        return name.replace("vision_tower.", "model.visual.", 1)
    if name.startswith("language_model.model."):
        return name.replace("language_model.model.", "model.language_model.", 1)
    return name.removeprefix("language_model.")


def cases():
    return {**usual_cases("hf-f32"), "one_picture_4bit": Case("mlx-4bit", pictures=ONE)}


def main(root):
    config, files = sidecars(byte_level_bpe(288))
    folder = Path(root) / "parity" / "qwen3_vl"
    write_family(folder, config, files, to_hf_name, cases(), SEED)


if __name__ == "__main__":
    main(sys.argv[1])

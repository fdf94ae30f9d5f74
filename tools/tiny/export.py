"""Writes a Hugging Face qwen2_vl folder from the trainer's state."""
import argparse
import json
from pathlib import Path

import torch
from safetensors.torch import save_file

import data
import tokenizer as tiny_tokenizer
from model import TEXT, VISION, TinyModel

ROOT = Path(__file__).resolve().parents[2]


def config(tokenizer) -> dict:
    one = tokenizer.token_to_id
    return {
        "architectures": ["Qwen2VLForConditionalGeneration"],
        "model_type": "qwen2_vl",
        "torch_dtype": "bfloat16",
        "vocab_size": tiny_tokenizer.padded_size(tokenizer),
        **{k: TEXT[k] for k in ("hidden_size", "intermediate_size", "num_hidden_layers",
                                "num_attention_heads", "num_key_value_heads", "rms_norm_eps",
                                "rope_theta", "max_position_embeddings")},
        "rope_scaling": {"type": "mrope", "mrope_section": TEXT["mrope_section"]},
        "hidden_act": "silu",
        "attention_dropout": 0.0,
        "initializer_range": 0.02,
        "use_cache": True,
        "use_sliding_window": False,
        "sliding_window": TEXT["max_position_embeddings"],
        "max_window_layers": TEXT["num_hidden_layers"],
        "tie_word_embeddings": True,
        "bos_token_id": one("<|endoftext|>"),
        "eos_token_id": one("<|im_end|>"),
        "pad_token_id": one("<|endoftext|>"),
        "vision_start_token_id": one("<|vision_start|>"),
        "vision_end_token_id": one("<|vision_end|>"),
        "vision_token_id": one("<|vision_pad|>"),
        "image_token_id": one("<|image_pad|>"),
        "video_token_id": one("<|video_pad|>"),
        "vision_config": {
            "model_type": "qwen2_vl",
            "depth": VISION["depth"],
            "embed_dim": VISION["embed_dim"],
            "num_heads": VISION["num_heads"],
            "mlp_ratio": VISION["mlp_ratio"],
            "hidden_act": "quick_gelu",
            "in_chans": 3,
            "in_channels": 3,
            "hidden_size": TEXT["hidden_size"],
            "patch_size": VISION["patch_size"],
            "spatial_patch_size": VISION["patch_size"],
            "spatial_merge_size": VISION["spatial_merge_size"],
            "temporal_patch_size": VISION["temporal_patch_size"],
        },
    }


def preprocessor() -> dict:
    return {
        "image_processor_type": "Qwen2VLImageProcessor",
        "processor_class": "Qwen2VLProcessor",
        "min_pixels": data.MIN_PIXELS,
        "max_pixels": data.MAX_PIXELS,
        "patch_size": data.PATCH,
        "temporal_patch_size": 2,
        "merge_size": data.MERGE,
        "do_resize": True, "do_rescale": True, "do_normalize": True, "do_convert_rgb": True,
        "resample": 3,
        "rescale_factor": 1 / 255,
        "image_mean": [0.48145466, 0.4578275, 0.40821073],
        "image_std": [0.26862954, 0.26130258, 0.27577711],
    }


def export(weights: dict, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = tiny_tokenizer.build()
    tiny_tokenizer.save(tokenizer, folder)
    generation = {"do_sample": False, "max_new_tokens": 64,
                  "eos_token_id": tokenizer.token_to_id("<|im_end|>"),
                  "pad_token_id": tokenizer.token_to_id("<|endoftext|>")}
    for name, content in (("config.json", config(tokenizer)),
                          ("generation_config.json", generation),
                          ("preprocessor_config.json", preprocessor())):
        (folder / name).write_text(json.dumps(content, indent=2) + "\n")
    save_file({k: v.to(torch.bfloat16).contiguous() for k, v in weights.items()},
              folder / "model.safetensors", metadata={"format": "pt"})


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--state", type=Path, default=ROOT / "build/tiny/state.pt")
    parser.add_argument("--out", type=Path, default=ROOT / "models/fovea-tiny")
    parser.add_argument("--weights", default="average", choices=["average", "model"])
    options = parser.parse_args()
    weights = torch.load(options.state, weights_only=True)[options.weights]
    model = TinyModel(tiny_tokenizer.padded_size(tiny_tokenizer.build()))
    model.load_state_dict(weights)
    export(model.state_dict(), options.out)
    print(f"{options.out}: {sum(p.numel() for p in model.parameters()):,} parameters")


if __name__ == "__main__":
    main()

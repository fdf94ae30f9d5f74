"""tests/fixtures/parity/gemma3, by Hugging Face: mlx-vlm lets a picture's tokens see only those before
them, and scales features by a width that config.json need not have."""

import functools
import json
import shutil
import sys
from pathlib import Path

import numpy as np
import torch
from transformers import Gemma3ForConditionalGeneration, Gemma3Processor

import torch_cases
from case_files import test_picture, two_turns, user
from tiny_tokenizers import sentencepiece_bpe
from torch_cases import (
    TorchReference,
    built,
    quiet,
    random_values,
    write_case,
    write_hugging_face,
    write_mlx_4bit,
)

SEED = 7
SPECIAL = ["<pad>", "<start_of_turn>", "<end_of_turn>", "<start_of_image>", "<end_of_image>"]
SPECIAL += ["<image_soft_token>"]
TEMPLATE = (Path(__file__).parent / "templates" / "gemma_3.jinja").read_text()


def configured():
    tokenizer = sentencepiece_bpe(368, specials=SPECIAL)
    number = tokenizer.token_to_id
    config = {
        "architectures": ["Gemma3ForConditionalGeneration"],
        "model_type": "gemma3",
        "boi_token_index": number("<start_of_image>"),
        "eoi_token_index": number("<end_of_image>"),
        "eos_token_id": [2, number("<end_of_turn>")],
        "image_token_index": number("<image_soft_token>"),
        "initializer_range": 0.02,
        "mm_tokens_per_image": 4,
        "text_config": {
            "model_type": "gemma3_text",
            "head_dim": 16,
            "hidden_size": 64,
            "intermediate_size": 64,
            "num_attention_heads": 4,
            "num_hidden_layers": 2,
            "num_key_value_heads": 2,
            "max_position_embeddings": 512,
            "query_pre_attn_scalar": 20,
            "rope_scaling": {"factor": 8.0, "rope_type": "linear"},
            "sliding_window": 24,
            "sliding_window_pattern": 2,
            "vocab_size": 384,
        },
        "vision_config": {
            "model_type": "siglip_vision_model",
            "hidden_size": 32,
            "intermediate_size": 48,
            "num_attention_heads": 2,
            "num_hidden_layers": 2,
            "image_size": 16,
            "patch_size": 4,
            "vision_use_head": False,
        },
    }
    tokens = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"}
    sidecars = {
        "generation_config.json": {
            "bos_token_id": 1,
            "eos_token_id": [2, number("<end_of_turn>")],
            "pad_token_id": number("<pad>"),
        },
        "preprocessor_config.json": {
            "do_convert_rgb": None,
            "do_normalize": True,
            "do_pan_and_scan": None,
            "do_rescale": True,
            "do_resize": True,
            "image_mean": [0.5, 0.5, 0.5],
            "image_processor_type": "Gemma3ImageProcessor",
            "image_seq_length": 4,
            "image_std": [0.5, 0.5, 0.5],
            "pan_and_scan_max_num_crops": None,
            "pan_and_scan_min_crop_size": None,
            "pan_and_scan_min_ratio_to_activate": None,
            "processor_class": "Gemma3Processor",
            "resample": 2,
            "rescale_factor": 0.00392156862745098,
            "size": {"height": 16, "width": 16},
        },
        "processor_config.json": {"image_seq_length": 4, "processor_class": "Gemma3Processor"},
        "special_tokens_map.json": tokens,
        "tokenizer.json": json.loads(tokenizer.to_str()),
        "tokenizer_config.json": {
            **tokens,
            "clean_up_tokenization_spaces": False,
            "tokenizer_class": "PreTrainedTokenizerFast",
            "extra_special_tokens": {
                "boi_token": "<start_of_image>",
                "eoi_token": "<end_of_image>",
                "image_token": "<image_soft_token>",
            },
            "chat_template": TEMPLATE,
        },
    }
    return config, sidecars


def panned(sidecars):
    """The same with pieces of oblong pictures."""
    settings = {
        **sidecars["preprocessor_config.json"],
        "do_pan_and_scan": True,
        "pan_and_scan_max_num_crops": 3,
        "pan_and_scan_min_crop_size": 8,
        "pan_and_scan_min_ratio_to_activate": 1.2,
    }
    return {**sidecars, "preprocessor_config.json": settings}


def released_name(name):
    """From transformers 5 to the names of released checkpoints, which MLX keeps."""
    if name == "lm_head.weight":
        return None
    for new, old in (
        ("model.language_model.", "language_model.model."),
        ("model.vision_tower.", "vision_tower.vision_model."),
    ):
        if name.startswith(new):
            return old + name.removeprefix(new).removeprefix("vision_model.")
    return name.removeprefix("model.")


def around_zero(name, shape, seed):
    """Gemma's norms add 1 to their weights; those of the tower do not. So that no token wins whatever
    the layers say, embeddings are of one length, what attention gives, which is much the same for all
    tokens, is small, and what MLPs give goes its own way in every value."""
    values = random_values(name, shape, seed)
    if "vision" in name:
        return values
    if "embed_tokens" in name:
        return values / np.linalg.norm(values, axis=1, keepdims=True) / 4
    if "post_attention_layernorm" in name:
        return values - 1.7
    if "post_feedforward_layernorm" in name:
        return 8 * (values - 1)
    return values - 1 if "norm" in name and name.endswith("weight") else values


class Gemma3(TorchReference):
    processor_class = Gemma3Processor

    def __init__(self, folder, model):
        """Hugging Face's processor cuts pictures only when its caller asks, whatever the checkpoint
        says; mlx-vlm's and Fovea do what the checkpoint says."""
        super().__init__(folder, model)
        settings = json.loads((folder / "preprocessor_config.json").read_text())
        if settings["do_pan_and_scan"]:
            asked = {key: value for key, value in settings.items() if "pan_and_scan" in key}
            self.processor = functools.partial(self.processor, **asked)

    def pixel_values(self, inputs):
        return inputs["pixel_values"]

    def image_features(self, inputs):
        with torch.no_grad():
            answer = self.model.model.get_image_features(inputs["pixel_values"])
        return answer.pooler_output.reshape(-1, self.model.config.text_config.hidden_size)


def cases():
    """name -> (checkpoint, messages for a question, pictures)"""
    one = {"picture.png": test_picture(45, 37, 1)}
    two = {"first.png": test_picture(30, 50, 2), "second.png": test_picture(64, 20, 3)}
    return {
        "one_picture": ("hf-bf16", user, one),
        "two_pictures": ("hf-bf16", user, two),
        "tiny_picture": ("hf-bf16", user, {"picture.png": test_picture(1, 1, 4)}),
        "tall_picture": ("hf-bf16", user, {"picture.png": test_picture(31, 150, 6)}),
        "text_only": ("hf-bf16", user, {}),
        "two_turns": ("hf-bf16", two_turns, one),
        "two_pictures_in_pieces_4bit": ("mlx-4bit", user, two),
    }


def main(root):
    quiet()
    torch_cases.random_values = around_zero
    folder = Path(root) / "parity" / "gemma3"
    shutil.rmtree(folder, ignore_errors=True)
    checkpoints = folder / "checkpoints"
    config, sidecars = configured()
    model = built(config, Gemma3ForConditionalGeneration)
    write_hugging_face(checkpoints / "hf-bf16", config, sidecars, model, released_name, SEED)
    for name, (checkpoint, ask, pictures) in cases().items():
        if checkpoint == "mlx-4bit":  # last: the model takes the rounded values
            folder_4bit = checkpoints / checkpoint
            write_mlx_4bit(folder_4bit, config, panned(sidecars), model, released_name)
        reference = Gemma3(checkpoints / checkpoint, model)
        write_case(folder, checkpoint, name, ask, pictures, SEED, reference)


if __name__ == "__main__":
    main(sys.argv[1])

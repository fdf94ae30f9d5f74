"""tests/fixtures/parity/gemma3, by Hugging Face: mlx-vlm lets a picture's tokens see only those before
them, and scales features by a width that config.json need not have."""

import functools
import json
import sys
from pathlib import Path

import numpy as np
import torch
from transformers import Gemma3ForConditionalGeneration, Gemma3Processor

from case_files import TWO, Case, usual_cases
from sidecars import HALF, LLAMA_TOKENS, picture_settings, small, small_tower, tokenizer_files
from tiny_tokenizers import sentencepiece_bpe
from torch_cases import Checkpoint, TorchReference, built, random_values, write_family

SEED = 7
SPECIAL = ["<pad>", "<start_of_turn>", "<end_of_turn>", "<start_of_image>", "<end_of_image>"]
SPECIAL += ["<image_soft_token>"]
TEMPLATE = (Path(__file__).parent / "templates" / "gemma_3.jinja").read_text()


def configured():
    tokenizer = sentencepiece_bpe(350, specials=SPECIAL)
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
        "text_config": small(
            "gemma3_text",
            head_dim=16,
            hidden_size=64,
            query_pre_attn_scalar=20,
            rope_scaling={"factor": 8.0, "rope_type": "linear"},
            sliding_window=24,
            sliding_window_pattern=2,
            vocab_size=352,
        ),
        "vision_config": small_tower("siglip_vision_model", vision_use_head=False),
    }
    return config, {
        "generation_config.json": {
            "bos_token_id": 1,
            "eos_token_id": [2, number("<end_of_turn>")],
            "pad_token_id": number("<pad>"),
        },
        "preprocessor_config.json": picture_settings(
            "Gemma3ImageProcessor",
            "Gemma3Processor",
            HALF,
            HALF,
            do_convert_rgb=None,
            do_pan_and_scan=None,
            image_seq_length=4,
            pan_and_scan_max_num_crops=None,
            pan_and_scan_min_crop_size=None,
            pan_and_scan_min_ratio_to_activate=None,
            resample=2,
            size={"height": 8, "width": 8},
        ),
        "processor_config.json": {"image_seq_length": 4, "processor_class": "Gemma3Processor"},
        **tokenizer_files(
            tokenizer,
            LLAMA_TOKENS,
            TEMPLATE,
            extra_special_tokens={
                "boi_token": "<start_of_image>",
                "eoi_token": "<end_of_image>",
                "image_token": "<image_soft_token>",
            },
        ),
    }


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
    the layers say, embeddings are of similar length, what attention gives, which is much the same
    for all tokens, is small, and what MLPs give goes its own way in every value."""
    values = random_values(name, shape, seed)
    if "vision" in name:
        return values
    if "embed_tokens" in name:
        lengths = np.exp(0.4 * np.random.default_rng(seed).standard_normal((shape[0], 1)))
        return values / np.linalg.norm(values, axis=1, keepdims=True) * lengths / 4
    if "post_attention_layernorm" in name:
        return values - 1.4
    if "post_feedforward_layernorm" in name:
        return 32 * (values - 1)
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


def main(root):
    config, sidecars = configured()
    build = functools.partial(built, model_class=Gemma3ForConditionalGeneration)
    checkpoints = {
        "hf-bf16": Checkpoint(config, sidecars, released_name, build, values=around_zero),
        "mlx-4bit": Checkpoint(config, panned(sidecars), released_name, group=64),
    }
    cases = usual_cases("hf-bf16", tall=(16, 75))
    del cases["wide_picture"]
    cases["two_pictures_in_pieces_4bit"] = Case("mlx-4bit", pictures=TWO)
    write_family(Path(root) / "parity" / "gemma3", checkpoints, cases, SEED, Gemma3)


if __name__ == "__main__":
    main(sys.argv[1])

"""tests/fixtures/parity/paligemma, by Hugging Face: mlx-vlm's generate leaves out the mask by which a
prompt's tokens see each other."""

import functools
import json
import sys
from pathlib import Path

import torch
from PIL import Image
from transformers import PaliGemmaForConditionalGeneration, PaliGemmaProcessor

from case_files import ONE, Case, usual_cases
from parity_gemma3 import around_zero, released_name
from sidecars import HALF, LLAMA_TOKENS, picture_settings, small, small_tower, tokenizer_files
from tiny_tokenizers import sentencepiece_bpe
from torch_cases import Checkpoint, TorchReference, built, write_family

SEED = 2


def configured(decoder):
    tokenizer = json.loads(sentencepiece_bpe(350, specials=["<pad>", "<image>"]).to_str())
    tokenizer["post_processor"] = None  # <s> stands behind the pictures
    ids = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 348}
    config = {
        **ids,
        "architectures": ["PaliGemmaForConditionalGeneration"],
        "model_type": "paligemma",
        "hidden_size": 64,
        "ignore_index": -100,
        "image_token_index": 349,
        "projection_dim": 64,
        "text_config": small(
            decoder, head_dim=16, hidden_size=64, num_image_tokens=16, vocab_size=352
        ),
        "vision_config": small_tower(
            "siglip_vision_model", num_image_tokens=16, projection_dim=64, vision_use_head=False
        ),
        "vocab_size": 352,
    }
    if decoder == "gemma2":
        config["text_config"] |= {"query_pre_attn_scalar": 20, "sliding_window": 64}
    return config, {
        "generation_config.json": ids,
        "preprocessor_config.json": picture_settings(
            "SiglipImageProcessor",
            "PaliGemmaProcessor",
            HALF,
            HALF,
            do_convert_rgb=None,
            image_seq_length=16,
            size={"height": 8, "width": 8},
        ),
        "processor_config.json": {"processor_class": "PaliGemmaProcessor"},
        **tokenizer_files(tokenizer, LLAMA_TOKENS),
    }


class PaliGemma(TorchReference):
    processor_class = PaliGemmaProcessor

    def prepare(self, messages, paths):
        prompt = "<image>" * len(paths) + messages[-1]["content"]
        images = [[Image.open(path).convert("RGB") for path in paths]]
        return messages, prompt, self.processor(images=images, text=[prompt], return_tensors="pt")

    def pixel_values(self, inputs):
        return inputs["pixel_values"]

    def image_features(self, inputs):
        with torch.no_grad():
            answer = self.model.model.get_image_features(inputs["pixel_values"])
        return answer.pooler_output.reshape(-1, self.model.config.text_config.hidden_size)


def checkpoint(decoder, quantized=False):
    """In 4 bits of groups of 64, as released ones have it."""
    build = functools.partial(built, model_class=PaliGemmaForConditionalGeneration)
    return Checkpoint(
        *configured(decoder), released_name, build, quantized, values=around_zero, group=64
    )


def main(root):
    checkpoints = {
        "hf-bf16": checkpoint("gemma"),
        "gemma2-mlx-4bit": checkpoint("gemma2", quantized=True),
    }
    usual = usual_cases("hf-bf16")
    cases = {name: usual[name] for name in ("one_picture", "two_pictures", "wide_picture")}
    cases["gemma2_one_picture_4bit"] = Case("gemma2-mlx-4bit", pictures=ONE)
    write_family(Path(root) / "parity" / "paligemma", checkpoints, cases, SEED, PaliGemma)


if __name__ == "__main__":
    main(sys.argv[1])

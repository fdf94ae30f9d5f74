"""tests/fixtures/parity/paligemma, by Hugging Face: mlx-vlm's generate leaves out the mask by which a
prompt's tokens see each other."""

import json
import shutil
import sys
from pathlib import Path

import torch
from PIL import Image
from transformers import PaliGemmaForConditionalGeneration, PaliGemmaProcessor

import parity_gemma3
import torch_cases
from case_files import test_picture, user
from parity_gemma3 import released_name
from tiny_tokenizers import sentencepiece_bpe
from torch_cases import (
    TorchReference,
    built,
    quiet,
    write_case,
    write_hugging_face,
    write_mlx_4bit,
)

SEED = 2


def configured(decoder):
    tokenizer = json.loads(sentencepiece_bpe(368, specials=["<pad>", "<image>"]).to_str())
    tokenizer["post_processor"] = None  # <s> stands behind the pictures
    config = {
        "architectures": ["PaliGemmaForConditionalGeneration"],
        "model_type": "paligemma",
        "bos_token_id": 1,
        "eos_token_id": 2,
        "hidden_size": 64,
        "ignore_index": -100,
        "image_token_index": 367,
        "pad_token_id": 366,
        "projection_dim": 64,
        "text_config": {
            "model_type": decoder,
            "head_dim": 16,
            "hidden_size": 64,
            "intermediate_size": 64,
            "num_attention_heads": 4,
            "num_hidden_layers": 2,
            "num_image_tokens": 16,
            "num_key_value_heads": 1,
            "max_position_embeddings": 512,
            "vocab_size": 384,
        },
        "vision_config": {
            "model_type": "siglip_vision_model",
            "hidden_size": 32,
            "intermediate_size": 48,
            "num_attention_heads": 2,
            "num_hidden_layers": 2,
            "num_image_tokens": 16,
            "image_size": 16,
            "patch_size": 4,
            "projection_dim": 64,
            "vision_use_head": False,
        },
        "vocab_size": 384,
    }
    if decoder == "gemma2":
        config["text_config"] |= {"query_pre_attn_scalar": 20, "sliding_window": 64}
    tokens = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"}
    sidecars = {
        "generation_config.json": {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 366},
        "preprocessor_config.json": {
            "do_convert_rgb": None,
            "do_normalize": True,
            "do_rescale": True,
            "do_resize": True,
            "image_mean": [0.5, 0.5, 0.5],
            "image_processor_type": "SiglipImageProcessor",
            "image_seq_length": 16,
            "image_std": [0.5, 0.5, 0.5],
            "processor_class": "PaliGemmaProcessor",
            "resample": 3,
            "rescale_factor": 0.00392156862745098,
            "size": {"height": 16, "width": 16},
        },
        "special_tokens_map.json": tokens,
        "tokenizer.json": tokenizer,
        "tokenizer_config.json": {
            **tokens,
            "clean_up_tokenization_spaces": False,
            "tokenizer_class": "PreTrainedTokenizerFast",
        },
        "processor_config.json": {"processor_class": "PaliGemmaProcessor"},
    }
    return config, sidecars


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


def cases():
    """name -> (checkpoint, messages for a question, pictures)"""
    one = {"picture.png": test_picture(45, 37, 1)}
    two = {"first.png": test_picture(30, 50, 2), "second.png": test_picture(64, 20, 3)}
    return {
        "one_picture": ("hf-bf16", user, one),
        "two_pictures": ("hf-bf16", user, two),
        "wide_picture": ("hf-bf16", user, {"picture.png": test_picture(190, 9, 5)}),
        "gemma2_one_picture_4bit": ("gemma2-mlx-4bit", user, one),
    }


def main(root):
    quiet()
    torch_cases.random_values = parity_gemma3.around_zero
    folder = Path(root) / "parity" / "paligemma"
    shutil.rmtree(folder, ignore_errors=True)
    for name, (checkpoint, ask, pictures) in cases().items():
        source = folder / "checkpoints" / checkpoint
        if not source.exists():
            gemma2 = checkpoint.startswith("gemma2")
            config, sidecars = configured("gemma2" if gemma2 else "gemma")
            model = built(config, PaliGemmaForConditionalGeneration)
            write_hugging_face(source, config, sidecars, model, released_name, SEED)
            if gemma2:
                shutil.rmtree(source)
                write_mlx_4bit(source, config, sidecars, model, released_name)
        write_case(folder, checkpoint, name, ask, pictures, SEED, PaliGemma(source, model))


if __name__ == "__main__":
    main(sys.argv[1])

"""tests/fixtures/parity/internvl_chat: InternViT and qwen2 by Hugging Face's InternVL, under the names
and with the picture rules of the checkpoints' own code. mlx-vlm takes another GELU in the tower,
breaks ties between grids of tiles otherwise, and leaves the checkpoint's chat template out."""

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from transformers import AutoTokenizer, InternVLConfig, InternVLForConditionalGeneration
from transformers import InternVLVisionConfig, Qwen2Config

from case_files import test_picture, user
from tiny_tokenizers import byte_level_bpe
from torch_cases import (
    TorchReference,
    quiet,
    write_case,
    write_hugging_face,
    write_mlx_4bit,
)

SEED = 4
TILE, PATCH, MOST = 16, 4, 6
MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
SPECIALS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<img>", "</img>", "<IMG_CONTEXT>"]
TEMPLATE = (
    "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + "
    "'<|im_end|>' + '\n'}}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


def configured(norm_type, qk_normalization):
    tokenizer = byte_level_bpe(300, SPECIALS)
    ids = {text: tokenizer.token_to_id(text) for text in SPECIALS}
    config = {
        "architectures": ["InternVLChatModel"],
        "downsample_ratio": 0.5,
        "dynamic_image_size": True,
        "force_image_size": TILE,
        "llm_config": {
            "architectures": ["Qwen2ForCausalLM"],
            "model_type": "qwen2",
            "bos_token_id": ids["<|endoftext|>"],
            "eos_token_id": ids["<|im_end|>"],
            "hidden_size": 64,
            "intermediate_size": 64,
            "max_position_embeddings": 512,
            "max_window_layers": 2,
            "num_attention_heads": 4,
            "num_hidden_layers": 2,
            "num_key_value_heads": 2,
            "rms_norm_eps": 1e-06,
            "rope_scaling": {"factor": 2.0, "rope_type": "dynamic", "type": "dynamic"},
            "rope_theta": 1000000.0,
            "sliding_window": None,
            "tie_word_embeddings": False,
            "use_sliding_window": False,
            "vocab_size": 304,
        },
        "max_dynamic_patch": MOST,
        "min_dynamic_patch": 1,
        "model_type": "internvl_chat",
        "ps_version": "v2",
        "select_layer": -1,
        "template": "internvl2_5",
        "use_thumbnail": True,
        "vision_config": {
            "architectures": ["InternVisionModel"],
            "model_type": "intern_vit_6b",
            "hidden_act": "gelu",
            "hidden_size": 32,
            "image_size": TILE,
            "intermediate_size": 48,
            "layer_norm_eps": 1e-06,
            "norm_type": norm_type,
            "num_attention_heads": 2,
            "num_channels": 3,
            "num_hidden_layers": 2,
            "patch_size": PATCH,
            "qk_normalization": qk_normalization,
            "qkv_bias": not qk_normalization,
        },
    }
    tokens = {"eos_token": "<|im_end|>", "pad_token": "<|endoftext|>"}
    sidecars = {
        "generation_config.json": {"eos_token_id": [ids["<|im_end|>"], ids["<|endoftext|>"]]},
        "preprocessor_config.json": {
            "crop_size": TILE,
            "do_center_crop": True,
            "do_normalize": True,
            "do_resize": True,
            "feature_extractor_type": "CLIPFeatureExtractor",
            "image_mean": MEAN,
            "image_std": STD,
            "resample": 3,
            "size": TILE,
        },
        "special_tokens_map.json": tokens,
        "tokenizer.json": json.loads(tokenizer.to_str()),
        "tokenizer_config.json": {
            **tokens,
            "clean_up_tokenization_spaces": False,
            "tokenizer_class": "PreTrainedTokenizerFast",
            "chat_template": TEMPLATE,
        },
    }
    return config, sidecars


def native(config, image_token):
    """The same model in the words of transformers."""
    vision, text = dict(config["vision_config"]), dict(config["llm_config"])
    for key in ("architectures", "model_type"):
        del vision[key], text[key]
    vision["attention_bias"] = vision.pop("qkv_bias")
    vision["use_qk_norm"] = vision.pop("qk_normalization")
    text["rope_parameters"] = {"rope_type": "default", "rope_theta": text.pop("rope_theta")}
    del text["rope_scaling"]  # dynamic: nothing within max_position_embeddings
    made = InternVLConfig(
        vision_config=InternVLVisionConfig(**vision),
        text_config=Qwen2Config(**text),
        image_token_id=image_token,
        downsample_ratio=config["downsample_ratio"],
        tie_word_embeddings=False,
    )
    made._attn_implementation = "eager"
    return InternVLForConditionalGeneration(made).eval()


def released_name(name):
    for new, old in (
        ("model.language_model.", "language_model.model."),
        ("lm_head.", "language_model.lm_head."),
        ("model.multi_modal_projector.layer_norm.", "mlp1.0."),
        ("model.multi_modal_projector.linear_1.", "mlp1.1."),
        ("model.multi_modal_projector.linear_2.", "mlp1.3."),
        ("model.vision_tower.", "vision_model."),
    ):
        if name.startswith(new):
            name = old + name.removeprefix(new)
            break
    for new, old in (
        ("cls_token", "class_embedding"),
        ("position_embeddings", "position_embedding"),
        ("patch_embeddings.projection", "patch_embedding"),
        ("encoder.layer.", "encoder.layers."),
        ("attention.projection_layer", "attn.proj"),
        (".attention.", ".attn."),
        ("layernorm_before", "norm1"),
        ("layernorm_after", "norm2"),
        ("lambda_", "ls"),
    ):
        name = name.replace(new, old) if name.startswith("vision_model.") else name
    return name


def arranged(tensors):
    """The tower's queries, keys and values as one weight."""
    made = {}
    for name, value in tensors.items():
        if ".attn.q_proj" in name:
            parts = [tensors[name.replace("q_proj", f"{part}_proj")] for part in "qkv"]
            joined = torch.cat(parts) if torch.is_tensor(value) else np.concatenate(parts)
            made[name.replace("q_proj", "qkv")] = joined
        elif ".attn.k_proj" not in name and ".attn.v_proj" not in name:
            made[name] = value
    return made


def grid_of(width, height):
    """Columns and rows of tiles: dynamic_preprocess of the model card."""
    grids = {
        (i, j)
        for n in range(1, MOST + 1)
        for i in range(1, n + 1)
        for j in range(1, n + 1)
        if 1 <= i * j <= MOST
    }
    best, least = (1, 1), float("inf")
    for grid in sorted(grids, key=lambda grid: grid[0] * grid[1]):
        difference = abs(width / height - grid[0] / grid[1])
        if difference < least:
            best, least = grid, difference
        elif difference == least and width * height > 0.5 * TILE * TILE * grid[0] * grid[1]:
            best = grid
    return best


def tiles_of(picture):
    columns, rows = grid_of(*picture.size)
    stretched = picture.resize((columns * TILE, rows * TILE))
    tiles = [
        stretched.crop((x * TILE, y * TILE, (x + 1) * TILE, (y + 1) * TILE))
        for y in range(rows)
        for x in range(columns)
    ]
    if len(tiles) > 1:
        tiles.append(picture.resize((TILE, TILE)))
    values = np.stack([np.array(tile, np.float32) / 255 for tile in tiles])
    scaled = (values - np.array(MEAN, np.float32)) / np.array(STD, np.float32)
    return torch.tensor(scaled.transpose(0, 3, 1, 2))


class InternVl(TorchReference):
    def __init__(self, folder, model):
        self.model = model
        config = json.loads((folder / "config.json").read_text())
        self.dtype = "quantised" if "quantization" in config else "bfloat16"
        self.tokenizer = AutoTokenizer.from_pretrained(folder)

    def prepare(self, messages, paths):
        marks = "<image>\n" * len(paths)
        content = [{**messages[0], "content": marks + messages[0]["content"]}]
        prompt = self.tokenizer.apply_chat_template(
            content, add_generation_prompt=True, tokenize=False
        )
        tiles = [tiles_of(Image.open(path).convert("RGB")) for path in paths]
        text = prompt
        for picture in tiles:
            count = len(picture) * (TILE // PATCH // 2) ** 2
            text = text.replace("<image>", "<img>" + "<IMG_CONTEXT>" * count + "</img>", 1)
        inputs = dict(self.tokenizer(text, return_tensors="pt"))
        inputs.pop("token_type_ids", None)
        if tiles:
            inputs["pixel_values"] = torch.cat(tiles)
        return content, prompt, inputs

    def pixel_values(self, inputs):
        return inputs["pixel_values"]

    def image_features(self, inputs):
        with torch.no_grad():
            answer = self.model.model.get_image_features(
                inputs["pixel_values"], vision_feature_select_strategy="default"
            )
        return answer.pooler_output.reshape(-1, answer.pooler_output.shape[-1])


def cases():
    """name -> (checkpoint, messages for a question, pictures)"""
    one = {"picture.png": test_picture(45, 37, 1)}
    two = {"first.png": test_picture(30, 50, 2), "second.png": test_picture(64, 20, 3)}
    return {
        "one_picture": ("hf-bf16", user, one),
        "two_pictures": ("hf-bf16", user, two),
        "tiny_picture": ("hf-bf16", user, {"picture.png": test_picture(1, 1, 4)}),
        "wide_picture": ("hf-bf16", user, {"picture.png": test_picture(190, 9, 5)}),
        "tall_picture": ("hf-bf16", user, {"picture.png": test_picture(7, 150, 6)}),
        # As near to 1:1 as to 1:2.
        "between_grids": ("hf-bf16", user, {"picture.png": test_picture(30, 40, 7)}),
        "text_only": ("hf-bf16", user, {}),
        "two_pictures_4bit": ("mlx-4bit", user, two),
        "one_picture_rms": ("hf-rms", user, one),
    }


def main(root):
    quiet()
    folder = Path(root) / "parity" / "internvl_chat"
    shutil.rmtree(folder, ignore_errors=True)
    checkpoints = folder / "checkpoints"
    model = None
    for name, (checkpoint, ask, pictures) in cases().items():
        rms = checkpoint == "hf-rms"  # as InternViT-6B has it
        config, sidecars = configured("rms_norm" if rms else "layer_norm", rms)
        names = {"released_name": released_name, "seed": SEED, "arranged": arranged}
        if checkpoint == "mlx-4bit":  # the model takes the rounded values
            write_mlx_4bit(
                checkpoints / checkpoint, config, sidecars, model, released_name, arranged
            )
        elif not (checkpoints / checkpoint).exists():
            model = native(config, image_token(sidecars))
            write_hugging_face(checkpoints / checkpoint, config, sidecars, model, **names)
        reference = InternVl(checkpoints / checkpoint, model)
        write_case(folder, checkpoint, name, ask, pictures, SEED, reference)


def image_token(sidecars):
    tokens = sidecars["tokenizer.json"]["added_tokens"]
    return next(token["id"] for token in tokens if token["content"] == "<IMG_CONTEXT>")


if __name__ == "__main__":
    main(sys.argv[1])

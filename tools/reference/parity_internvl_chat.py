"""tests/fixtures/parity/internvl_chat: InternViT and qwen2, qwen3 or llama by Hugging Face's
InternVL, under the names and with the picture rules of the checkpoints' own code. mlx-vlm takes another GELU in the tower,
breaks ties between grids of tiles otherwise, and leaves the checkpoint's chat template out."""

import functools
import json
import sys
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from transformers import AutoConfig, AutoTokenizer, InternVLConfig
from transformers import InternVLForConditionalGeneration, InternVLVisionConfig

from case_files import ONE, TWO, Case, picture_of, usual_cases
from sidecars import LLAMA_TOKENS, QWEN_TOKENS, small, small_tower, tokenizer_files
from tiny_tokenizers import byte_level_bpe, sentencepiece_bpe
from torch_cases import Checkpoint, TorchReference, write_family

SEED = 4
TILE, PATCH, MOST = 8, 2, 4
MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
SPECIALS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<img>", "</img>", "<IMG_CONTEXT>"]
TEMPLATE = (
    "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + "
    "'<|im_end|>' + '\n'}}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


def qwen2():
    text = small(
        "qwen2",
        intermediate_size=32,
        architectures=["Qwen2ForCausalLM"],
        max_window_layers=2,
        rms_norm_eps=1e-06,
        rope_scaling={"factor": 2.0, "rope_type": "dynamic", "type": "dynamic"},
        rope_theta=1000000.0,
        sliding_window=None,
        tie_word_embeddings=False,
        use_sliding_window=False,
        vocab_size=288,
    )
    return text, byte_level_bpe(288, SPECIALS)


def qwen3():
    """As InternVL3.5 has it: heads wider than the hidden size has room for."""
    text = small(
        "qwen3",
        intermediate_size=32,
        architectures=["Qwen3ForCausalLM"],
        attention_bias=False,
        head_dim=24,
        max_window_layers=2,
        rms_norm_eps=1e-06,
        rope_scaling=None,
        rope_theta=1000000,
        sliding_window=None,
        tie_word_embeddings=False,
        use_sliding_window=False,
        vocab_size=288,
    )
    return text, byte_level_bpe(288, SPECIALS)


def llama():
    """As InternVL2-Llama3-76B has it, but for the kind of tokenizer."""
    text = small(
        "llama",
        intermediate_size=32,
        architectures=["LlamaForCausalLM"],
        attention_bias=False,
        mlp_bias=False,
        rms_norm_eps=1e-05,
        rope_scaling={"factor": 2.0, "type": "dynamic"},
        rope_theta=500000.0,
        tie_word_embeddings=False,
        vocab_size=352,
    )
    tokens = ["<pad>", "<|im_start|>", "<|im_end|>", *SPECIALS[3:]]
    return text, sentencepiece_bpe(346, specials=tokens)


def configured(decoder, big_tower=False):
    """The big tower, InternViT-6B, has RMS norms, also over queries and keys."""
    text, tokenizer = decoder()
    tokens = {**LLAMA_TOKENS, "eos_token": "<|im_end|>"} if decoder is llama else QWEN_TOKENS
    ends = [tokenizer.token_to_id(tokens[part]) for part in ("eos_token", "pad_token")]
    vision = small_tower(
        "intern_vit_6b",
        architectures=["InternVisionModel"],
        hidden_act="gelu",
        layer_norm_eps=1e-06,
        norm_type="rms_norm" if big_tower else "layer_norm",
        num_channels=3,
        qk_normalization=big_tower,
        qkv_bias=not big_tower,
    )
    config = {
        "architectures": ["InternVLChatModel"],
        "downsample_ratio": 0.5,
        "dynamic_image_size": True,
        "force_image_size": TILE,
        "llm_config": {**text, "eos_token_id": ends[0]},
        "max_dynamic_patch": MOST,
        "min_dynamic_patch": 1,
        "model_type": "internvl_chat",
        "ps_version": "v2",
        "select_layer": -1,
        "template": "internvl2_5",
        "use_thumbnail": True,
        "vision_config": vision,
    }
    return config, {
        "generation_config.json": {"eos_token_id": ends},
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
        **tokenizer_files(tokenizer, tokens, TEMPLATE),
    }


def native(config, image_token):
    """The same model in the words of transformers."""
    vision, text = dict(config["vision_config"]), dict(config["llm_config"])
    kind = text["model_type"]
    for key in ("architectures", "model_type"):
        del vision[key], text[key]
    vision["attention_bias"] = vision.pop("qkv_bias")
    vision["use_qk_norm"] = vision.pop("qk_normalization")
    text["rope_parameters"] = {"rope_type": "default", "rope_theta": text.pop("rope_theta")}
    del text["rope_scaling"]  # dynamic: nothing within max_position_embeddings
    made = InternVLConfig(
        vision_config=InternVLVisionConfig(**vision),
        text_config=AutoConfig.for_model(kind, **text),
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


def checkpoint(decoder, big_tower=False, quantized=False):
    config, sidecars = configured(decoder, big_tower)
    tokens = sidecars["tokenizer.json"]["added_tokens"]
    image = next(token["id"] for token in tokens if token["content"] == "<IMG_CONTEXT>")
    model = None if quantized else functools.partial(native, image_token=image)
    return Checkpoint(config, sidecars, released_name, model, arranged=arranged)


def main(root):
    checkpoints = {
        "hf-bf16": checkpoint(qwen2),
        "mlx-4bit": checkpoint(qwen2, quantized=True),
        "qwen3-rms": checkpoint(qwen3, big_tower=True),
        "llama-bf16": checkpoint(llama),
    }
    cases = {
        **usual_cases("hf-bf16", turns=False),
        # As near to 1:1 as to 1:2.
        "between_grids": Case("hf-bf16", pictures=picture_of(15, 20)),
        "two_pictures_4bit": Case("mlx-4bit", pictures=TWO),
        "one_picture_qwen3_rms": Case("qwen3-rms", pictures=ONE),
        "two_pictures_llama": Case("llama-bf16", pictures=TWO),
    }
    write_family(Path(root) / "parity" / "internvl_chat", checkpoints, cases, SEED, InternVl)


if __name__ == "__main__":
    main(sys.argv[1])

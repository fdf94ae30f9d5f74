"""tests/fixtures/parity/transformers: what mlx-vlm cannot answer for, by Hugging Face's own models.

Its checkpoints are written by save_pretrained, so they carry the names that transformers gives, or
are quantised here, with another width and group for each weight. Requests, prompts and pictures are
those of a case of parity_llava: only the models differ. Runs in tools/tiny's environment, which has
torch; mlx is not needed.
"""

import json
import shutil
import sys
import zlib
from pathlib import Path

import numpy as np
import torch
import transformers
from safetensors.numpy import load_file, save_file
from transformers import (
    CLIPVisionConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    MistralConfig,
    Qwen2Config,
    SiglipVisionConfig,
)

from case_files import GREEDY_TOKENS, MARGIN_MIN
from rows import made_with, write_json
from torch_cases import margin_of, quantised, recording

MODEL_FILES = ("config.json", "generation_config.json")
BITS = (2, 3, 4, 5, 6, 8)
GROUPS = (32, 64, 128)


def clip(**sizes):
    standard = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2}
    standard |= {"num_attention_heads": 2, "image_size": 8, "patch_size": 2}
    return CLIPVisionConfig(**{**standard, **sizes})


def decoder(kind, **keys):
    standard = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2}
    standard |= {"num_attention_heads": 2, "num_key_value_heads": 1}
    standard |= {"max_position_embeddings": 512, "tie_word_embeddings": False}
    return kind(**{**standard, **keys})


def mistral_f16():
    """A window over every layer, heads wider than the hidden size has room for."""
    text = decoder(MistralConfig, vocab_size=352, head_dim=32, sliding_window=20)
    return LlavaConfig(text_config=text, vision_config=clip(), image_token_index=348)


def siglip_tanh_bf16():
    """The tanh GELU, a pooling head that no feature comes from, a window over the last layer."""
    text = decoder(
        Qwen2Config,
        vocab_size=288,
        use_sliding_window=True,
        sliding_window=20,
        max_window_layers=1,
    )
    vision = SiglipVisionConfig(
        hidden_size=20,
        intermediate_size=26,
        num_hidden_layers=2,
        num_attention_heads=2,
        image_size=8,
        patch_size=2,
    )
    return LlavaConfig(
        text_config=text,
        vision_config=vision,
        image_token_index=287,
        vision_feature_layer=-1,
        vision_feature_select_strategy="full",
    )


def mixed_widths():
    """Rows of 64 and 128 values, so that every group fits somewhere."""
    text = decoder(LlamaConfig, vocab_size=352, hidden_size=64, intermediate_size=128)
    vision = clip(hidden_size=32, intermediate_size=64)
    return LlavaConfig(text_config=text, vision_config=vision, image_token_index=348)


def make_model(config, seed):
    """Every parameter random: norms about 1, biases and tables not zero."""
    config._attn_implementation = "eager"
    model = LlavaForConditionalGeneration(config).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            rng = np.random.default_rng([seed, zlib.crc32(name.encode())])
            values = rng.standard_normal(tuple(parameter.shape))
            if parameter.ndim == 1:
                values = 0.1 * values + (1 if "norm" in name and name.endswith("weight") else 0)
            elif "position_embedding" in name:
                values = 0.5 * values
            else:
                values = 1.3 * values / np.sqrt(np.prod(parameter.shape[1:]))
                if "embed_tokens" in name or "lm_head" in name:
                    values *= np.exp(0.6 * rng.standard_normal((parameter.shape[0], 1)))
                if "o_proj" in name or "down_proj" in name:
                    values *= 3
            parameter.copy_(torch.tensor(values, dtype=torch.float32))
    return model


def mlx_name(name):
    for old, new in (
        ("model.language_model.", "language_model.model."),
        ("model.multi_modal_projector.", "multi_modal_projector."),
        ("model.vision_tower.", "vision_tower.vision_model."),
        ("lm_head.", "language_model.lm_head."),
    ):
        if name.startswith(old):
            return new + name[len(old) :].removeprefix("vision_model.")
    return name


def write_quantised(model, folder):
    """Every matrix with a width and a group of its own, the table of positions too, as older
    mlx-community checkpoints have it. The model is left with the values that the file holds."""
    tensors, values, overrides = {}, {}, {}
    for name, parameter in sorted(model.state_dict().items()):
        weight = parameter.numpy()
        path = mlx_name(name).removesuffix(".weight")
        if weight.ndim == 2:
            bits = BITS[len(overrides) % len(BITS)]
            fitting = [group for group in GROUPS if weight.shape[1] % group == 0]
            group = fitting[len(overrides) // len(BITS) % len(fitting)]
            packed, scales, biases, weight = quantised(weight, group, bits)
            tensors |= {f"{path}.weight": packed, f"{path}.scales": scales}
            tensors[f"{path}.biases"] = biases
            overrides[path] = {"group_size": group, "bits": bits}
        else:
            half = weight.astype(np.float16)
            tensors[mlx_name(name)] = half.transpose(0, 2, 3, 1) if half.ndim == 4 else half
            weight = half.astype(np.float32)
        values[name] = torch.tensor(weight)
    folder.mkdir(parents=True)
    contiguous = {name: np.ascontiguousarray(value) for name, value in tensors.items()}
    save_file(contiguous, folder / "model.safetensors", metadata={"format": "mlx"})
    config = json.loads(model.config.to_json_string(use_diff=False))
    config["quantization"] = {"group_size": 64, "bits": 4, **overrides}
    write_json(folder / "config.json", config)
    model.load_state_dict(values)


def stages(model, ids, pixels):
    inner = model.model
    with recording([inner.multi_modal_projector]) as features:
        inner.get_image_features(pixel_values=torch.tensor(pixels))
    embeds = inner.get_input_embeddings()(torch.tensor(ids))
    at = torch.tensor(ids == model.config.image_token_index)
    image = features[0].reshape(-1, embeds.shape[-1])
    embeds = embeds.masked_scatter(at[:, None], image)
    with recording(inner.language_model.layers) as hidden:
        last = inner.language_model(inputs_embeds=embeds[None], use_cache=False).last_hidden_state
    found = {"image_features": image, "inputs_embeds": embeds, "logits": model.lm_head(last[0, -1])}
    found |= {f"hidden.{i}": value.reshape(embeds.shape) for i, value in enumerate(hidden)}
    return embeds, {name: value.numpy() for name, value in found.items()}


def greedy(model, embeds):
    """Greedy tokens, and the narrowest win in standard deviations of the logits."""
    tokens, margins = [], []
    for _ in range(GREEDY_TOKENS):
        last = model.model.language_model(inputs_embeds=embeds[None], use_cache=False)
        logits = model.lm_head(last.last_hidden_state[0, -1])
        best = logits.argmax()[None]
        tokens.append(int(best))
        margins.append(margin_of(logits))
        if margins[-1] < MARGIN_MIN:
            break
        embeds = torch.cat([embeds, model.model.get_input_embeddings()(best)])
    return tokens, min(margins)


def special_ids(folder):
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    return {token["id"] for token in tokenizer["added_tokens"]} | {0, 1, 2}


# name -> (config, dtype of the weights or None for quantised ones, the case of parity_llava)
CASES = {
    "mistral_f16": (mistral_f16, torch.float16, "clip_one_picture"),
    "siglip_tanh_bf16": (siglip_tanh_bf16, torch.bfloat16, "siglip_one_picture"),
    "mixed_widths": (mixed_widths, None, "clip_one_picture"),
}


def write_weights(model, dtype, folder):
    """Leaves the model with the values that the file holds, and with its rotary table as it was."""
    if dtype is None:
        write_quantised(model, folder)
        return
    rounded = {name: value.to(dtype) for name, value in model.state_dict().items()}
    low = LlavaForConditionalGeneration(model.config).to(dtype)
    low.load_state_dict(rounded)
    low.save_pretrained(folder)
    model.load_state_dict({name: value.float() for name, value in rounded.items()})


def write_case(root, name, make_config, dtype, base):
    llava = root / "parity" / "llava"
    case = root / "parity/transformers/cases" / name
    folder = root / "parity/transformers/checkpoints" / name
    manifest = json.loads((llava / "cases" / base / "manifest.json").read_text())
    source = llava / "checkpoints" / manifest["checkpoint"]
    inputs = load_file(llava / "cases" / base / "stages.safetensors")
    ids, pixels = inputs["input_ids"].astype(np.int64), inputs["pixel_values"]
    for seed in range(1, 500):
        shutil.rmtree(folder, ignore_errors=True)
        model = make_model(make_config(), seed)
        write_weights(model, dtype, folder)
        embeds, found = stages(model, ids, pixels)
        tokens, margin = greedy(model, embeds)
        if margin >= MARGIN_MIN and len(set(tokens)) >= 4 and not special_ids(source) & set(tokens):
            break
    else:
        raise SystemExit(f"{name}: no seed gives a clear greedy answer")
    for file in source.iterdir():
        if file.name not in MODEL_FILES and not file.name.startswith("model"):
            shutil.copy(file, folder)
    (folder / "generation_config.json").unlink(missing_ok=True)
    case.mkdir(parents=True)
    shutil.copy(llava / "cases" / base / "picture.png", case)
    request = json.loads((llava / "cases" / base / "request.json").read_text())
    write_json(case / "request.json", {**request, "checkpoint": f"../../checkpoints/{name}"})
    stored = {f"exact.{key}": np.ascontiguousarray(value) for key, value in found.items()}
    stored |= {"input_ids": inputs["input_ids"], "pixel_values": pixels}
    stored |= {"position_ids": inputs["position_ids"], "greedy": np.array(tokens, np.int32)}
    save_file(stored, case / "stages.safetensors")
    write_json(
        case / "manifest.json",
        {
            "checkpoint": name,
            "dtype": str(dtype or "quantised").replace("torch.", ""),
            "seed": seed,
            "made_with": made_with("torch", "transformers", "numpy"),
            "prompt": manifest["prompt"],
            "prompt_tokens": int(ids.size),
            "smallest_greedy_margin": round(margin, 3),
        },
    )
    print(f"transformers {name}: seed {seed}, margin {margin:.3f}, {tokens}")


def main(root):
    torch.set_num_threads(1)
    transformers.logging.disable_progress_bar()
    root = Path(root)
    shutil.rmtree(root / "parity" / "transformers", ignore_errors=True)
    with torch.no_grad():
        for name, (make_config, dtype, base) in CASES.items():
            write_case(root, name, make_config, dtype, base)


if __name__ == "__main__":
    main(sys.argv[1])

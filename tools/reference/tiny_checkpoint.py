"""Tiny checkpoints, every parameter random, in the Hugging Face and in the MLX layout."""

import json
import shutil
import tempfile
import zlib
from pathlib import Path

import mlx.core as mx
import numpy as np
from mlx.utils import tree_flatten
from mlx_vlm.convert import convert
from mlx_vlm.utils import get_model_and_args, update_module_configs
from safetensors.numpy import save_file

from rows import write_json

NORMS = ("norm", "ln_q")
SPREAD = 0.6  # so that some tokens win clearly, as they do in a trained model


def random_parameter(name, shape, seed, bf16_values):
    """Norms lie about 1, biases and tables are not zero, no two rows of the head are alike."""
    rng = np.random.default_rng([seed, zlib.crc32(name.encode())])
    values = rng.standard_normal(shape)
    if name.endswith("weight") and any(part in name.split(".")[-2] for part in NORMS):
        values = 1 + 0.1 * values
    elif name.endswith("bias"):
        values = 0.1 * values
    elif "position_embedding" in name or "class_embedding" in name:
        values = 0.5 * values
    else:
        values = values * 1.3 / np.sqrt(np.prod(shape[1:]))
        if "embed_tokens" in name or "lm_head" in name:
            values *= np.exp(SPREAD * rng.standard_normal((shape[0], 1)))
        if "o_proj" in name or "down_proj" in name:
            values *= (
                3  # layers matter more than the token itself, or greedy text repeats one token
            )
    values = values.astype(np.float32)
    if bf16_values:
        values = np.array(mx.array(values).astype(mx.bfloat16).astype(mx.float32))
    return values


def build_model(config):
    """The reference's model for a config.json, built as its own loader builds it."""
    config = json.loads(json.dumps(config))
    model_class, _ = get_model_and_args(config=config)
    config.setdefault("text_config", {})
    model_config = model_class.ModelConfig.from_dict(config)
    model_config = update_module_configs(model_config, model_class, config, ["text", "vision"])
    return model_class.Model(model_config)


def write_hugging_face(
    folder,
    config,
    sidecars,
    to_hf_name,
    seed,
    shards=1,
    bf16_values=False,
    extra=None,
    released=None,
):
    """config.json and friends, and weights under PyTorch names with PyTorch convolution order;
    `released` may rearrange all of them."""
    folder.mkdir(parents=True)
    for name, content in {"config.json": config, **sidecars}.items():
        write_json(folder / name, content)
    tensors = {}
    for name, value in tree_flatten(build_model(config).parameters()):
        name_there = to_hf_name(name)
        random = random_parameter(name_there, value.shape, seed, bf16_values)
        if random.ndim > 2:
            random = np.moveaxis(random, -1, 1)
        tensors[name_there] = np.ascontiguousarray(random)
    tensors.update(extra or {})
    if released:
        tensors = released(tensors)
    if shards == 1:
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
        return
    names = sorted(tensors)
    weight_map = {}
    for index in range(shards):
        file = f"model-{index + 1:05d}-of-{shards:05d}.safetensors"
        part = names[index * len(names) // shards : (index + 1) * len(names) // shards]
        save_file({name: tensors[name] for name in part}, folder / file, metadata={"format": "pt"})
        weight_map.update({name: file for name in part})
    total = sum(value.nbytes for value in tensors.values())
    write_json(
        folder / "model.safetensors.index.json",
        {"metadata": {"total_size": total}, "weight_map": weight_map},
    )


def write_mlx(source, folder, **options):
    """The reference's own conversion, without the model card."""
    with tempfile.TemporaryDirectory() as scratch:
        made = Path(scratch) / "made"
        convert(hf_path=str(source), mlx_path=str(made), **options)
        (made / "README.md").unlink()
        shutil.copytree(made, folder)

#!/usr/bin/env python3
"""OpenVINO on the blocks of a vision tower, with random weights of the shape that a checkpoint's
config.json names: milliseconds of one picture, in float32 and in bfloat16. Patch embedding and
projector are left out, which favours OpenVINO by a few percent. One JSON object.
Run with build/peers/openvino-venv/bin/python after `bench/peers/setup openvino`.
Usage: openvino_tower.py FOLDER ROWS [--threads N] [--repeats N]   ROWS: patches of the picture"""
import argparse
import json
import statistics
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import openvino as ov
from openvino import opset13 as ops


@dataclass
class Shape:
    width: int
    heads: int
    hidden: int  # of the MLP
    layers: int
    activation: str
    rotary: bool
    tile_rows: int = 0  # of pictures that go through in tiles of one size; 0: whole


def tower_shape(config):
    vision = config["vision_config"]
    if "embed_dim" in vision:  # qwen2_vl
        width = vision["embed_dim"]
        return Shape(width, vision["num_heads"], int(width * vision["mlp_ratio"]), vision["depth"],
                     "quick_gelu", True)
    if config["model_type"] == "idefics3":  # with the defaults of Hugging Face's class
        return Shape(vision["hidden_size"], vision["num_attention_heads"],
                     vision.get("intermediate_size", 3072), vision.get("num_hidden_layers", 12),
                     "gelu_pytorch_tanh", False, (vision["image_size"] // vision["patch_size"]) ** 2)
    layers = vision["num_hidden_layers"]
    last = config.get("vision_feature_layer", -1)
    return Shape(vision["hidden_size"], vision["num_attention_heads"], vision["intermediate_size"],
                 layers + 1 + last if last < 0 else last,
                 vision.get("hidden_act", "quick_gelu"), False)


class Tower:
    def __init__(self, shape, rows):
        self.shape = shape
        self.rows = shape.tile_rows or rows
        self.tiles = rows // self.rows
        self.random = np.random.default_rng(0)

    def weight(self, *sizes):
        return ops.constant((self.random.standard_normal(sizes) * 0.02).astype(np.float32))

    def linear(self, x, inputs, outputs):
        product = ops.matmul(x, self.weight(outputs, inputs), False, True)
        return ops.add(product, self.weight(outputs))

    def norm(self, x):
        width = self.shape.width
        centred = ops.mvn(x, ops.constant([-1]), True, 1e-6, "inside_sqrt")
        return ops.add(ops.multiply(centred, self.weight(width)), self.weight(width))

    def heads(self, x):
        size = self.shape.width // self.shape.heads
        split = ops.reshape(x, ops.constant([self.tiles, self.rows, self.shape.heads, size]), False)
        return ops.transpose(split, ops.constant([0, 2, 1, 3]))

    def rotated(self, x):
        half = self.shape.width // self.shape.heads // 2
        first, second = ops.split(x, ops.constant(3), 2).outputs()
        turned = ops.concat([ops.negative(second), first], 3)
        cos, sin = self.weight(1, 1, self.rows, 2 * half), self.weight(1, 1, self.rows, 2 * half)
        return ops.add(ops.multiply(x, cos), ops.multiply(turned, sin))

    def attention(self, x):
        width = self.shape.width
        q, k, v = (self.heads(self.linear(x, width, width)) for _ in range(3))
        if self.shape.rotary:
            q, k = self.rotated(q), self.rotated(k)
        mixed = ops.transpose(ops.scaled_dot_product_attention(q, k, v), ops.constant([0, 2, 1, 3]))
        flat = ops.reshape(mixed, ops.constant([self.tiles, self.rows, width]), False)
        return self.linear(flat, width, width)

    def activated(self, x):
        if self.shape.activation == "quick_gelu":
            return ops.multiply(x, ops.sigmoid(ops.multiply(x, ops.constant(np.float32(1.702)))))
        return ops.gelu(x, "tanh" if "tanh" in self.shape.activation else "erf")

    def mlp(self, x):
        inner = self.activated(self.linear(x, self.shape.width, self.shape.hidden))
        return self.linear(inner, self.shape.hidden, self.shape.width)

    def model(self):
        begin = ops.parameter([self.tiles, self.rows, self.shape.width], np.float32)
        x = begin
        for _ in range(self.shape.layers):
            x = ops.add(x, self.attention(self.norm(x)))
            x = ops.add(x, self.mlp(self.norm(x)))
        return ov.Model([x], [begin])


def median_ms(model, precision, threads, repeats):
    settings = {"INFERENCE_PRECISION_HINT": precision, "PERFORMANCE_HINT": "LATENCY"}
    if threads:
        settings["INFERENCE_NUM_THREADS"] = threads
    compiled = ov.Core().compile_model(model, "CPU", settings)
    request = compiled.create_infer_request()
    x = np.random.default_rng(1).standard_normal(compiled.input(0).shape).astype(np.float32)
    request.infer({0: x})
    times = []
    for _ in range(repeats):
        begin = time.monotonic()
        request.infer({0: x})
        times.append((time.monotonic() - begin) * 1000)
    return round(statistics.median(times), 2)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("rows", type=int)
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    config = json.loads((arguments.folder / "config.json").read_text())
    model = Tower(tower_shape(config), arguments.rows).model()
    times = {f"{name}_ms": median_ms(model, name, arguments.threads, arguments.repeats)
             for name in ("f32", "bf16")}
    print(json.dumps({"name": "OpenVINO", "version": ov.__version__, "rows": arguments.rows,
                      **times}))


if __name__ == "__main__":
    main()

"""What activation-aware scales are worth: models/fovea-tiny quantised with and without them, asked about
scenes that neither training nor calibration saw.

For each number of bits: plain rounding, scales from the standard calibration set (--awq), and scales
from scenes of the same kind as those asked about (--calibration, drawn from another seed), the last
with cut ranges too (--awq-clip). mlx-vlm, the reference, computes the figures in float32 from the folders
that Fovea wrote: the perplexity of the right answers, and the mean Kullback-Leibler divergence (in nats a
token) from what the unquantised model says.

Channels of this small model are all about equally large, so scales have little to find in it; those of
large models are not (Dettmers et al., arXiv:2208.07339: a few are tens of times larger than the rest).
`uneven` is the same function with such channels: a few of each norm times 32, and the columns behind
them by 32, both exact in bfloat16.

    build/reference-venv/bin/python tools/convert/measure_awq.py [--bits 3,4] [--n 150]
"""

import argparse
import json
import math
import os
import random
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

os.environ.update(HF_HUB_OFFLINE="1", TRANSFORMERS_OFFLINE="1", TOKENIZERS_PARALLELISM="false")

import mlx.core as mx
from mlx.utils import tree_map
from mlx_vlm import load
from mlx_vlm.prompt_utils import apply_chat_template

ROOT = Path(__file__).resolve().parents[2]
FOVEA = ROOT / "build/release/fovea"
MODEL = ROOT / "models/fovea-tiny"
sys.path.insert(0, str(ROOT / "tools/tiny"))

import questions
import scenes

MIX = {"single": 1, "several": 1, "count": 1, "text": 1, "buttons": 1}
SIZES = [(448, 336), (392, 392), (480, 270)]
HELD_OUT_SEED, CALIBRATION_SEED = 777_101, 777_102
CALIBRATION_SCENES = 48
UNEVEN_SEED, LARGE_CHANNELS = 777_103, 5
BEHIND = {
    "input_layernorm": ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"],
    "post_attention_layernorm": ["mlp.gate_proj", "mlp.up_proj"],
}
FIELDS = ("position_ids", "rope_deltas")  # what the embeddings bring for the decoder


def asked(seed, count):
    """`count` scenes, each with a question about it."""
    rng, kept = random.Random(seed), []
    while len(kept) < count:
        scene = scenes.make_scene(rng, MIX, SIZES[len(kept) % len(SIZES)])
        found = questions.ask(rng, scene, 9)
        if found:
            kept.append((scene.picture, rng.choice(found)))
    return kept


def write_calibration(folder):
    lines = []
    for number, (picture, question) in enumerate(asked(CALIBRATION_SEED, CALIBRATION_SCENES)):
        picture.save(folder / f"{number}.png")
        lines.append({"prompt": question.prompt, "answer": question.answer, "images": [f"{number}.png"]})
    file = folder / "scenes.jsonl"
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return file


def write_uneven(folder):
    """MODEL with LARGE_CHANNELS of the input of each attention and each MLP."""
    shutil.copytree(MODEL, folder)
    weights = mx.load(str(MODEL / "model.safetensors"))
    rng = random.Random(UNEVEN_SEED)
    for name in sorted(weights):
        readers = next((paths for norm, paths in BEHIND.items() if name.endswith(norm + ".weight")), None)
        if readers is None:
            continue
        factors = [1.0] * weights[name].shape[0]
        for channel in rng.sample(range(len(factors)), LARGE_CHANNELS):
            factors[channel] = 32.0
        factors = mx.array(factors).astype(weights[name].dtype)
        weights[name] = weights[name] * factors
        layer = name[: name.rindex(".layers.") + len(".layers.")] + name.split(".layers.")[1].split(".")[0]
        for path in readers:
            reader = f"{layer}.{path}.weight"
            weights[reader] = weights[reader] / factors
    mx.save_safetensors(str(folder / "model.safetensors"), weights, metadata={"format": "pt"})
    return folder


def float32(network):
    widened = lambda a: a.astype(mx.float32) if mx.issubdtype(a.dtype, mx.floating) else a
    network.update(tree_map(widened, network.parameters()))
    return network


def cases(held_out):
    """What does not depend on the decoder: of each question its inputs, its picture's features and the
    answer's tokens."""
    network, processor = load(str(MODEL))
    float32(network)
    made = []
    for picture, question in held_out:
        text = apply_chat_template(processor, network.config, question.prompt, num_images=1)
        end = question.answer + "<|im_end|>"
        inputs = processor(text=[text + end], images=[picture], return_tensors="np")
        ids, pixels, grid = (mx.array(inputs[k]) for k in ("input_ids", "pixel_values", "image_grid_thw"))
        answer = processor.tokenizer.encode(end, add_special_tokens=False)
        assert ids[0, -len(answer) :].tolist() == answer
        features = network.vision_tower(pixels, grid, output_hidden_states=False)
        mx.eval(features)
        made.append((ids, pixels, grid, features, answer))
    return made


def said(folder, asked_of):
    """Log-probabilities [tokens, vocabulary] in front of each token of each answer."""
    network = float32(load(str(folder))[0])
    found = []
    for ids, pixels, grid, features, answer in asked_of:
        embedded = network.get_input_embeddings(
            ids, pixels, image_grid_thw=grid, cached_image_features=features
        )
        extra = {f: getattr(embedded, f) for f in FIELDS if getattr(embedded, f, None) is not None}
        logits = network.language_model(
            ids, inputs_embeds=embedded.inputs_embeds, image_grid_thw=grid, **extra
        ).logits[0]
        before = logits[-len(answer) - 1 : -1]
        logprobs = before - mx.logsumexp(before, axis=-1, keepdims=True)
        mx.eval(logprobs)
        found.append((logprobs, answer))
    return found


def figures(found, plain):
    """Perplexity, and the mean divergence from `plain`."""
    loss = divergence = tokens = 0
    for (ours, answer), (theirs, _) in zip(found, plain):
        loss -= mx.sum(ours[mx.arange(len(answer)), mx.array(answer)]).item()
        divergence += mx.sum(mx.exp(theirs) * (theirs - ours)).item()
        tokens += len(answer)
    return math.exp(loss / tokens), divergence / tokens


def run(arguments):
    subprocess.run([FOVEA, *arguments], check=True, capture_output=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bits", default="3,4")
    parser.add_argument("--n", type=int, default=150, help="questions, each about a scene of its own")
    options = parser.parse_args()
    held_out = cases(asked(HELD_OUT_SEED, options.n))
    plain = said(MODEL, held_out)
    with tempfile.TemporaryDirectory() as scratch:
        calibration = write_calibration(Path(scratch))
        uneven = write_uneven(Path(scratch) / "uneven")
        ways = {"plain rounding": [], "standard set": ["--awq"], "scenes": ["--calibration", calibration],
                "scenes, ranges cut": ["--calibration", calibration, "--awq-clip"]}
        for model in (MODEL, uneven):
            perplexity, divergence = figures(said(model, held_out), plain)
            print(f"{model.name} as it is: perplexity {perplexity:.4f}, divergence {divergence:.5f}", flush=True)
            for bits in options.bits.split(","):
                for name, flags in ways.items():
                    out = Path(scratch) / f"{model.name} {bits} {name}"
                    run(["convert", model, out, "--q-bits", bits, *flags])
                    # The same values, in products that this machine computes faster.
                    run(["convert", out, f"{out} plain", "--dequantize", "--dtype", "float32"])
                    perplexity, divergence = figures(said(f"{out} plain", held_out), plain)
                    print(f"{model.name} {bits} bits, {name}: perplexity {perplexity:.4f}, "
                          f"divergence {divergence:.5f}", flush=True)

if __name__ == "__main__":
    main()

"""Proves `fovea convert` against mlx-vlm, the reference: models/fovea-tiny in many formats.

For each format: the tensors are, bit by bit, those that mlx-vlm's own converter writes; mlx-vlm loads
Fovea's folder; and where Fovea reads the format too, both give the same greedy answers about
examples/pictures (float32 products on both sides, since bf16 sums may tip a close choice).

    build/reference-venv/bin/python tools/convert/check_reader.py     # after ./dev reference
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

os.environ.update(HF_HUB_OFFLINE="1", TRANSFORMERS_OFFLINE="1", TOKENIZERS_PARALLELISM="false")

import mlx.core as mx
from mlx.utils import tree_map
from mlx_vlm import generate, load
from mlx_vlm.convert import convert
from mlx_vlm.prompt_utils import apply_chat_template

ROOT = Path(__file__).resolve().parents[2]
FOVEA = ROOT / "build/release/fovea"
MODEL = ROOT / "models/fovea-tiny"
QUESTION = "What is in this picture?"
LONGEST = 24

# name -> flags of fovea, options of mlx-vlm (None: it has no such thing), whether Fovea reads it
FORMATS = {
    "plain": ([], {}, True),
    "float16": (["--dtype", "float16"], {"dtype": "float16"}, True),
    **{
        f"{bits} bits": (["--q-bits", str(bits)], {"quantize": True, "q_bits": bits}, True)
        for bits in (2, 3, 4, 5, 6, 8)
    },
    "groups of 32": (
        ["--q-bits", "4", "--q-group-size", "32"],
        {"quantize": True, "q_bits": 4, "q_group_size": 32},
        True,
    ),
    **{
        name: (["--q-recipe", name], {"quantize": True, "quant_predicate": name}, True)
        for name in ("mixed_2_6", "mixed_3_4", "mixed_3_5", "mixed_3_6", "mixed_3_8", "mixed_4_6", "mixed_4_8")
    },
    **{
        mode: (["--q-mode", mode], {"quantize": True, "q_mode": mode, "q_group_size": None, "q_bits": None}, True)
        for mode in ("mxfp4", "nvfp4", "mxfp8")
    },
    "8 bits, tower too": (["--q-bits", "8", "--q-vision"], None, True),
    # mlx-vlm searches scales too, but others.
    "4 bits, scaled": (["--q-bits", "4", "--awq"], None, True),
    "3 bits, scaled and cut": (["--q-bits", "3", "--awq-clip"], None, True),
}


def tensors(folder):
    found = {}
    for file in folder.glob("*.safetensors"):
        found.update(mx.load(str(file)))
    return found


def differences(ours, theirs):
    """Names of tensors that differ in anything."""
    bad = sorted(ours.keys() ^ theirs.keys())
    for name in ours.keys() & theirs.keys():
        a, b = ours[name], theirs[name]
        same = a.dtype == b.dtype and a.shape == b.shape
        if not same or not mx.array_equal(a.view(mx.uint8), b.view(mx.uint8)).item():
            bad.append(name)
    return bad


def mlx_vlm_answers(folder, pictures):
    network, processor = load(str(folder))
    network.update(
        tree_map(
            lambda a: a.astype(mx.float32) if mx.issubdtype(a.dtype, mx.floating) else a,
            network.parameters(),
        )
    )
    text = apply_chat_template(processor, network.config, QUESTION, num_images=1)
    return [
        generate(network, processor, text, image=[str(p)], max_tokens=LONGEST, temperature=0.0, verbose=False).text
        for p in pictures
    ]


def fovea_answers(folder, pictures):
    answers = []
    for picture in pictures:
        command = [FOVEA, "generate", "--model", folder, "--image", picture, "--prompt", QUESTION,
                   "--max-tokens", str(LONGEST), "--json"]
        made = subprocess.run(command, capture_output=True, text=True, check=True,
                              env={**os.environ, "FOVEA_EXACT": "2"})
        answers.append(json.loads(made.stdout)["text"])
    return answers


def check(name, scratch, pictures):
    flags, options, reads = FORMATS[name]
    ours, theirs = scratch / "ours", scratch / "theirs"
    subprocess.run([FOVEA, "convert", MODEL, ours, *flags], check=True, capture_output=True)
    words = []
    if options is not None:
        convert(hf_path=str(MODEL), mlx_path=str(theirs), **options)
        bad = differences(tensors(ours), tensors(theirs))
        words.append(f"tensors differ: {bad[:3]}" if bad else "tensors equal")
    told = mlx_vlm_answers(ours, pictures)
    if reads:
        said = fovea_answers(ours, pictures)
        equal = sum(a == b for a, b in zip(said, told))
        words.append(f"answers equal {equal} of {len(told)}")
    else:
        words.append(f"mlx-vlm answers {told[0]!r}")
    good = "differ" not in words[0] and (not reads or said == told)
    return good, "; ".join(words)


def main():
    pictures = sorted((ROOT / "examples/pictures").glob("*.png"))
    failures = 0
    for name in sys.argv[1:] or FORMATS:
        with tempfile.TemporaryDirectory() as scratch:
            good, words = check(name, Path(scratch), pictures)
        failures += not good
        print(f"{'ok  ' if good else 'FAIL'} {name}: {words}", flush=True)
    sys.exit(failures > 0)


if __name__ == "__main__":
    main()

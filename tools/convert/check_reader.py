"""Proves `fovea convert` against mlx-vlm, the reference: models/fovea-tiny in many formats, and a
checkpoint of every family.

For each format: the tensors are, bit by bit, those that mlx-vlm's own converter writes; mlx-vlm loads
Fovea's folder; and where Fovea reads the format too, both give the same greedy answers about
examples/pictures (float32 products on both sides, since bf16 sums may tip a close choice).

For each checkpoint of tests/fixtures/parity, plain and in 4 bits: mlx-vlm loads Fovea's folder with
no tensor missing or left over, and Fovea's tensors are those of mlx-vlm's converter where that can
read the source. What mlx-vlm can read of no folder is listed with the reason, and fails so.

    build/reference-venv/bin/python tools/convert/check_reader.py     # after ./dev reference
    build/reference-venv/bin/python tools/convert/check_reader.py '4 bits' gemma3 pixtral
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

os.environ.update(HF_HUB_OFFLINE="1", TRANSFORMERS_OFFLINE="1", TOKENIZERS_PARALLELISM="false")

import mlx.core as mx
from mlx.utils import tree_map
import mlx_vlm.convert
from mlx_vlm import generate, load
from mlx_vlm.convert import convert
from mlx_vlm.prompt_utils import apply_chat_template
from mlx_vlm.utils import load_config, load_model

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

FIXTURES = ROOT / "tests/fixtures/parity"

# Members of config.json that the fixtures lack and released checkpoints have, or that mlx-vlm looks
# for elsewhere.
RELEASED = {
    "gemma3": {"text_config": {"mm_tokens_per_image": 4}},
    "llava_bunny": {"auto_map": {}},
}

# What mlx-vlm says of checkpoints that it cannot read in any layout, and why.
UNREADABLE = {
    "internvl_chat/llama-bf16": ("k_norm.weight", "it knows no InternVL around llama"),
    "llava_bunny/llama-bf16": ("q_proj.bias", "it knows Bunny around qwen2 alone, whose attention has biases"),
    "llava_next/qwen2-bf16": ("Model type qwen2 not supported", "it knows LLaVA-NeXT around llama alone"),
    "paligemma/hf-bf16": ("q_proj.weight", "it takes Gemma's head_dim for hidden_size over heads"),
    "phi3_v/hf-bf16": ("Missing", "its tower has CLIP's 24 layers whatever the config says"),
    "phi3_v/mlx-4bit": ("Missing", "its tower has CLIP's 24 layers whatever the config says"),
    "transformers/mistral_f16": ("Model type mistral not supported", "it knows no LLaVA around mistral"),
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


def pooling_head(config):
    """SigLIP's, which Bunny's releases have and its fixtures do not."""
    wide, inner = config["vision_config"]["hidden_size"], config["vision_config"]["intermediate_size"]
    shapes = {
        "probe": (1, 1, wide),
        "attention.in_proj_weight": (3 * wide, wide),
        "attention.in_proj_bias": (3 * wide,),
        "attention.out_proj.weight": (wide, wide),
        "attention.out_proj.bias": (wide,),
        "layernorm.weight": (wide,),
        "layernorm.bias": (wide,),
        "mlp.fc1.weight": (inner, wide),
        "mlp.fc1.bias": (inner,),
        "mlp.fc2.weight": (wide, inner),
        "mlp.fc2.bias": (wide,),
    }
    prefix = "model.vision_tower.vision_tower.vision_model.head."
    return {prefix + name: mx.random.normal(shape).astype(mx.bfloat16) for name, shape in shapes.items()}


def merged(config, more):
    for key, value in more.items():
        config[key] = merged(config.get(key, {}), value) if isinstance(value, dict) else value
    return config


def released(fixture, folder, tied):
    """The fixture as a release would have it; tied, of Bunny: with the table of embeddings as head."""
    shutil.copytree(fixture, folder)
    config = json.loads((folder / "config.json").read_text())
    merged(config, RELEASED.get(fixture.parents[1].name, {}))
    if fixture.parents[1].name == "llava_bunny":
        weights = tensors(folder) | pooling_head(config)
        if tied:
            config["tie_word_embeddings"] = True
            weights = {name: value for name, value in weights.items() if "lm_head" not in name}
        mx.eval(weights)
        (folder / "model.safetensors").unlink()
        mx.save_safetensors(str(folder / "model.safetensors"), weights)
    (folder / "config.json").write_text(json.dumps(config))
    return config


class NoProcessor:
    """The fixtures' processors are not what is converted."""


def reference(source, folder, quantized):
    """What mlx-vlm's converter writes; nothing where it cannot read the source."""
    try:
        network = load_model(source, lazy=True)
    except Exception:
        return None
    mlx_vlm.convert.fetch_from_hub = lambda *args, **options: (network, load_config(source), NoProcessor())
    convert(hf_path=str(source), mlx_path=str(folder), quantize=quantized, q_bits=4, q_group_size=32)
    return tensors(folder)


def check_fixture(fixture, scratch, flags, tied):
    name = f"{fixture.parents[1].name}/{fixture.name}"
    source, ours = scratch / "source", scratch / "ours"
    config = released(fixture, source, tied)
    command = [FOVEA, "convert", source, ours, *flags]
    ran = subprocess.run(command, capture_output=True, text=True)
    if ran.returncode:
        return False, ran.stderr.strip()
    expected, reason = UNREADABLE.get(name, (None, None))
    try:
        load_model(ours)
    except Exception as error:
        return bool(expected) and expected in str(error), reason or f"mlx-vlm does not load it: {error}"
    if expected:
        return False, f"mlx-vlm loads it, though {reason}"
    theirs = None if "quantization" in config else reference(source, scratch / "theirs", bool(flags))
    if theirs is None:
        return True, "mlx-vlm loads it"
    made = tensors(ours)
    # A plain head that is the table is left out: mlx-vlm fills it.
    table = theirs.get("language_model.model.embed_tokens.weight")
    for head in ("language_model.lm_head.weight", "language_model.model.lm_head.weight"):
        if head in theirs and head not in made and mx.array_equal(theirs[head], table).item():
            del theirs[head]
    bad = differences(made, theirs)
    return not bad, f"mlx-vlm loads it; tensors {'differ: ' + str(bad[:3]) if bad else 'equal'}"


def check_fixtures(families):
    """Yields what each case is called and how it went."""
    for fixture in sorted(FIXTURES.glob("*/checkpoints/*")):
        if fixture.parents[1].name not in families:
            continue
        packed = "quantization" in json.loads((fixture / "config.json").read_text())
        for flags in [[]] if packed else [[], ["--q-bits", "4", "--q-group-size", "32"]]:
            for tied in [False, True] if fixture.parents[1].name == "llava_bunny" and not packed else [False]:
                with tempfile.TemporaryDirectory() as scratch:
                    good, words = check_fixture(fixture, Path(scratch), flags, tied)
                label = f"{fixture.parents[1].name}/{fixture.name}"
                yield f"{label}{' tied' if tied else ''}{' 4 bits' if flags else ''}", good, words


def check_formats(names):
    pictures = sorted((ROOT / "examples/pictures").glob("*.png"))
    for name in names:
        with tempfile.TemporaryDirectory() as scratch:
            yield name, *check(name, Path(scratch), pictures)


def main():
    families = [folder.parent.name for folder in sorted(FIXTURES.glob("*/checkpoints"))]
    wanted = sys.argv[1:] or [*FORMATS, *families]
    failures = 0
    for checks in (
        check_formats([name for name in wanted if name in FORMATS]),
        check_fixtures([name for name in wanted if name in families]),
    ):
        for name, good, words in checks:
            failures += not good
            print(f"{'ok  ' if good else 'FAIL'} {name}: {words}", flush=True)
    sys.exit(failures > 0)


if __name__ == "__main__":
    main()

"""Every family at a real shape: a line each with how long its tower takes for a picture of 640x480,
how fast its decoder reads a prompt and answers, and the shares of this machine's limits that these
are; then a table that marks shares below half of the families' median. Widths, towers, vocabularies
and pictures are those of the released model; of the decoder a few layers stand for all, so that the
checkpoints fit a disk, and the line says how many. Each checkpoint is removed when it was timed.

    bench/run families [--families qwen2_vl,gemma3] [--layers 4] [--repeats 3]
"""
import argparse
import json
import shutil
import statistics
import subprocess

from costs import Costs
from fovea_runs import BUILD, ROOT, Fovea, limits
from pictures import picture

# A shape of each family that has one of its own; others are the same code with other names.
SHAPES = {
    "gemma3": "gemma3-4b",
    "internvl_chat": "internvl_chat-2.5-1b",
    "llava": "llava-1.5-7b",
    "llava-qwen2": "nanollava",
    "llava_next": "llava-v1.6-mistral-7b",
    "mistral3": "mistral3-small-3.1-24b",
    "paligemma": "paligemma-3b",
    "phi3_v": "phi3_v-3.5",
    "pixtral": "pixtral-12b",
    "qwen2_5_vl": "qwen2_5_vl-3b",
    "qwen2_vl": "qwen2_vl-2b",
    "qwen3_vl": "qwen3_vl-2b",
    "qwen3_vl_moe": "qwen3_vl-30b-a3b",
    "smolvlm": "smolvlm-256m",
}
PICTURE = (640, 480)
PICTURE_TEXT = 30  # tokens of text beside it
PREFILL = 512
NEW_TOKENS = 32
SHARES = ["vision_share", "prefill_share", "decode_share"]


def supported():
    table = subprocess.run([BUILD / "fovea", "models", "--supported"], check=True,
                           capture_output=True, text=True).stdout
    return [line.split()[0] for line in table.splitlines()[1:] if line.strip()]


def bench_family(family, layers, repeats):
    shape = SHAPES[family]
    folder = ROOT / "build" / "bench" / "families" / shape
    shutil.rmtree(folder, ignore_errors=True)
    folder.parent.mkdir(parents=True, exist_ok=True)
    try:
        subprocess.run([BUILD / "fovea", "synth", shape, folder, "--layers", str(layers)], check=True,
                       stdout=subprocess.DEVNULL)
        return timed(family, shape, folder, repeats, limits(0))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def timed(family, shape, folder, repeats, limit):
    costs = Costs(folder)
    fovea = Fovea(folder, repeats=repeats)
    seen = fovea.answer(PICTURE_TEXT + fovea.extra, 1,
                        image=picture(ROOT / "build" / "bench" / "pictures", *PICTURE))
    read = fovea.answer(min(PREFILL, costs.context - NEW_TOKENS - 1), NEW_TOKENS)
    flops = costs.vision_flops(seen["images"][0])
    prefill = costs.prefill_flops(read["prompt_n"])
    peak = limit["peak_gflops"] * 1e9
    rate = read["predicted_per_second"]
    return {
        "bench": "families", "family": family, "shape": shape,
        "layers": costs.text["num_hidden_layers"],
        "vision_ms": round(seen["vision_ms"], 1),
        "vision_tokens": seen["images"][0]["tokens"],
        "vision_share": round(flops / (seen["vision_ms"] / 1000) / peak, 3),
        "prefill_tokens_per_s": round(read["prompt_n"] * 1000 / read["prompt_ms"], 1),
        "prefill_share": round(prefill / (read["prompt_ms"] / 1000) / peak, 3),
        "decode_tokens_per_s": round(rate, 1),
        "peak_gflops": round(limit["peak_gflops"], 1),
        "read_gbytes_per_s": round(limit["read_gbytes_per_s"], 2),
        "decode_share": round(costs.decode_bytes() * rate / 1e9 / limit["read_gbytes_per_s"], 3),
    }


def print_table(lines):
    medians = {share: statistics.median(line[share] for line in lines) for share in SHARES}
    print(f"\n{'family':14} {'shape':24} {'layers':>6} {'vision ms':>10} {'':>8} {'prefill/s':>10} "
          f"{'':>8} {'decode/s':>9} {'':>8}")
    for line in lines:
        marked = [f"{line[share]:.0%}" + (" slow" if line[share] < medians[share] / 2 else "")
                  for share in SHARES]
        print(f"{line['family']:14} {line['shape']:24} {line['layers']:>6} {line['vision_ms']:>10} "
              f"{marked[0]:>8} {line['prefill_tokens_per_s']:>10} {marked[1]:>8} "
              f"{line['decode_tokens_per_s']:>9} {marked[2]:>8}")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--families", default=",".join(SHAPES))
    parser.add_argument("--layers", type=int, default=4, help="of each decoder")
    parser.add_argument("--repeats", type=int, default=3, help="runs whose median counts")
    flags = parser.parse_args()
    lines = []
    for family in flags.families.split(","):
        lines.append(bench_family(family, flags.layers, flags.repeats))
        print(json.dumps(lines[-1]), flush=True)
    others = sorted(set(supported()) - set(SHAPES))
    print(json.dumps({"bench": "families", "name": "without a shape", "families": others}))
    print_table(lines)


if __name__ == "__main__":
    main()

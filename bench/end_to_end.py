#!/usr/bin/env python3
"""How long does Fovea take, from a picture to the answer? One JSON object a line and a table at the
end; docs/bench.md says what the lines mean. Checkpoints of real shapes with random weights are made
on demand under build/bench."""
import argparse
import json
import sys

from costs import Costs
from fovea_runs import ROOT, Fovea, checkpoint, drop_from_cache, limits
from pictures import picture, sizes

MODELS = ["qwen2_vl-2b", "llava-1.5-7b", "llava-interleave-qwen-0.5b"]
PICTURES = "640x480,1344x1344"
PICTURE_TEXT = 30  # tokens of text beside a picture
NEW_TOKENS = 32  # decoded to measure the speed
PREFILLS = [512, 4096]


class Report:
    """Prints a line for each figure and keeps them for the table."""

    def __init__(self, model, bits, limit):
        self.head = {"model": model, "bits": bits}
        self.limit = limit
        self.lines = []

    def add(self, name, value, unit, share=None, **more):
        line = {**self.head, "name": name, "value": round(value, 3), "unit": unit, **more}
        if share is not None:
            line["share_of_limit"] = round(share, 3)
        print(json.dumps(line), flush=True)
        self.lines.append(line)

    def flops_share(self, flops, milliseconds):
        return flops / (milliseconds / 1000) / 1e9 / self.limit["peak_gflops"]

    def read_share(self, bytes_read, seconds):
        return bytes_read / seconds / 1e9 / self.limit["read_gbytes_per_s"]


def bench_start(fovea, report):
    run = fovea.answer(8 + fovea.extra, 1)
    report.add("start-up to first token, warm", run["wall_ms"], "ms", load_ms=run["load_ms"])
    drop_from_cache(fovea.folder)
    run = fovea.answer(8 + fovea.extra, 1, repeats=1)
    report.add("start-up to first token, cold", run["wall_ms"], "ms", load_ms=run["load_ms"])


def bench_pictures(fovea, costs, report, pictures):
    for width, height in pictures:
        name = f"{width}x{height}"
        image = picture(ROOT / "build" / "bench" / "pictures", width, height)
        run = fovea.answer(PICTURE_TEXT + fovea.extra, 1, image=image)
        tokens = run["images"][0]["tokens"]
        report.add(f"decode and resize {name}", run["process_ms"], "ms")
        report.add(f"vision encode {name}", run["vision_ms"], "ms",
                   report.flops_share(costs.vision_flops(run["images"][0]), run["vision_ms"]), tokens=tokens)
        rest = run["prompt_ms"] - run["process_ms"] - run["vision_ms"]
        report.add(f"prefill beside {name}", rest, "ms",
                   report.flops_share(costs.prefill_flops(run["prompt_n"]), rest),
                   tokens=run["prompt_n"])
        report.add(f"first token {name}", run["prompt_ms"], "ms", runs=run["runs"])
        report.add(f"peak memory {name}", run["peak_memory"] / 1e9, "GB",
                   of_file=round(run["peak_memory"] / costs.file_bytes, 3))


def bench_text(fovea, costs, report, depths):
    """Prefill and decode at each depth; a prompt fills the cache, so both come from one run."""
    wanted = sorted({*PREFILLS, *depths} if max(depths) >= max(PREFILLS) else {512, *depths})
    for depth in wanted:
        length = min(depth, costs.context - NEW_TOKENS - 1)
        run = fovea.answer(max(length, fovea.extra + 1), NEW_TOKENS)
        tokens = run["prompt_n"]
        if depth > 0:
            report.add(f"prefill {depth}", tokens * 1000 / run["prompt_ms"], "tokens/s",
                       report.flops_share(costs.prefill_flops(tokens), run["prompt_ms"]),
                       tokens=tokens, ms=round(run["prompt_ms"], 1), runs=run["runs"])
        if depth in depths:
            rate = run["predicted_per_second"]
            report.add(f"decode at depth {depth}", rate, "tokens/s",
                       report.read_share(costs.decode_bytes(), 1 / rate), depth=tokens)
        report.add(f"peak memory {depth} tokens", run["peak_memory"] / 1e9, "GB",
                   of_file=round(run["peak_memory"] / costs.file_bytes, 3))


def bench_model(name, arguments):
    folder = checkpoint(name, arguments.bits)
    limit = limits(arguments.threads)
    print(json.dumps({"model": name, "bits": arguments.bits, "name": "limits", **limit}),
          flush=True)
    costs = Costs(folder)
    fovea = Fovea(folder, arguments.threads, arguments.repeats)
    report = Report(name, arguments.bits, limit)
    bench_start(fovea, report)
    bench_pictures(fovea, costs, report, sizes(arguments.pictures))
    bench_text(fovea, costs, report, arguments.depths)
    return report.lines


def print_table(lines):
    print(f"\n{'model':28} {'figure':32} {'value':>10} {'unit':9} {'of limit':>8}")
    for line in lines:
        share = f"{line['share_of_limit']:.0%}" if "share_of_limit" in line else ""
        print(f"{line['model']:28} {line['name']:32} {line['value']:>10.6g} {line['unit']:9} "
              f"{share:>8}")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", default=",".join(MODELS), help="names of `fovea synth`")
    parser.add_argument("--bits", type=int, default=4)
    parser.add_argument("--pictures", default=PICTURES, help="sizes; empty for none")
    parser.add_argument("--depths", default="0,4096,16384", help="of the cache when decoding")
    parser.add_argument("--repeats", type=int, default=3, help="runs whose median counts")
    parser.add_argument("--threads", type=int, default=0, help="0: as many as Fovea takes")
    arguments = parser.parse_args()
    arguments.depths = [int(depth) for depth in arguments.depths.split(",")]
    lines = []
    for name in arguments.models.split(","):
        lines += bench_model(name, arguments)
    print_table(lines)
    return 0


if __name__ == "__main__":
    sys.exit(main())

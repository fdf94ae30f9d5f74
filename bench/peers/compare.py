#!/usr/bin/env python3
"""Fovea beside llama.cpp on the same checkpoint, threads and pictures, and beside OpenVINO on the
tower's blocks. They run by turns, so that a machine that changes its clock changes it for all;
medians, and their ratio. Needs `bench/peers/setup llama_cpp` once, and `setup openvino` for its
lines. One JSON object a line and a table at the end."""
import argparse
import json
import statistics
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from costs import Costs  # noqa: E402
from fovea_runs import ROOT, Fovea, checkpoint, limits  # noqa: E402
from pictures import picture, sizes  # noqa: E402

from llama_cpp import PEERS, LlamaCpp  # noqa: E402

PICTURES = "640x480,1344x1344"
PICTURE_TEXT = 30
NEW_TOKENS = 32


class Pairs:
    """Figures of Fovea and a peer, by name; `better` says which way they go."""

    def __init__(self, model):
        self.model = model
        self.values = {}

    def add(self, name, unit, better, ours, theirs, peer=LlamaCpp.name):
        pair = self.values.setdefault((name, peer), (unit, better, [], []))
        pair[2].append(ours)
        pair[3].append(theirs)

    def lines(self):
        for (name, peer), (unit, better, ours, theirs) in self.values.items():
            a, b = statistics.median(ours), statistics.median(theirs)
            yield {"model": self.model, "name": name, "unit": unit, "fovea": round(a, 3),
                   "peer": peer, "theirs": round(b, 3), "runs": len(ours),
                   "times_better": round(b / a if better == "less" else a / b, 3)}


def openvino_ms(folder, rows, threads):
    """One picture through the tower's blocks, in whichever precision is faster."""
    python = PEERS / "openvino-venv" / "bin" / "python"
    script = Path(__file__).with_name("openvino_tower.py")
    out = subprocess.run([python, script, folder, str(rows), "--threads", str(threads),
                          "--repeats", "1"], check=True, capture_output=True, text=True).stdout
    times = json.loads(out.splitlines()[-1])
    return min(times["f32_ms"], times["bf16_ms"])


def compare_pictures(pairs, fovea, peer, pictures):
    costs = Costs(fovea.folder)
    for width, height in pictures:
        image = picture(ROOT / "build" / "bench" / "pictures", width, height)
        text = fovea.words(PICTURE_TEXT + fovea.extra)
        ours = fovea.answer(0, 1, image=image, repeats=1, text=text)
        theirs = peer.picture(image, text, 1)
        size = f"{width}x{height}"
        pairs.add(f"vision encode {size}", "ms", "less", ours["vision_ms"], theirs["vision_ms"])
        if (PEERS / "openvino-venv").exists():
            rows = costs.vision_rows(ours["images"][0])
            pairs.add(f"vision encode {size}", "ms", "less", ours["vision_ms"],
                      openvino_ms(fovea.folder, rows, peer.threads), "OpenVINO")
        pairs.add(f"first token {size}", "ms", "less", ours["prompt_ms"], theirs["first_token_ms"])
        pairs.add(f"peak memory {size}", "GB", "less", ours["peak_memory"] / 1e9,
                  theirs["peak_memory"] / 1e9)
        pairs.add(f"prompt tokens {size}", "tokens", "less", ours["prompt_n"], theirs["tokens"])


def compare_text(pairs, fovea, peer, depths):
    ours = fovea.answer(512, NEW_TOKENS, repeats=1)
    prompt, new = peer.text(512, NEW_TOKENS)
    pairs.add("prefill 512", "tokens/s", "more", ours["prompt_n"] * 1000 / ours["prompt_ms"], prompt)
    for depth in depths:
        if depth:
            _, new = peer.text(16, NEW_TOKENS, depth)
        run = fovea.answer(max(depth, fovea.extra + 8), NEW_TOKENS, repeats=1)
        pairs.add(f"decode at depth {depth}", "tokens/s", "more", run["predicted_per_second"], new)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", default="qwen2_vl-2b,llava-1.5-7b")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=0, help="of both; 0: as many as Fovea takes")
    parser.add_argument("--depths", default="0", help="of the cache when decoding")
    parser.add_argument("--pictures", default=PICTURES, help="sizes; empty for none")
    arguments = parser.parse_args()
    limit = limits(arguments.threads)
    print(json.dumps({"name": "limits", **limit}), flush=True)
    lines = []
    for name in arguments.models.split(","):
        folder = checkpoint(name, 4)
        fovea = Fovea(folder, limit["threads"], repeats=1)
        peer = LlamaCpp(folder, limit["threads"])
        pairs = Pairs(name)
        for _ in range(arguments.rounds):
            compare_pictures(pairs, fovea, peer, sizes(arguments.pictures))
            compare_text(pairs, fovea, peer, [int(d) for d in arguments.depths.split(",")])
        for line in pairs.lines():
            print(json.dumps(line), flush=True)
            lines.append(line)
    print(f"\n{'model':16} {'figure':26} {'Fovea':>10} {'peer':>10} {'':10} {'unit':9} {'ratio':>7}")
    for line in lines:
        print(f"{line['model']:16} {line['name']:26} {line['fovea']:>10.6g} {line['theirs']:>10.6g} "
              f"{line['peer']:10} {line['unit']:9} {line['times_better']:>6.2f}x")


if __name__ == "__main__":
    main()

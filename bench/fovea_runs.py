"""Runs `fovea` for benches and reads what it tells about itself."""
import json
import os
import subprocess
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / "build" / "release"
LONG_SECONDS = 30  # a run beyond this is not repeated


def checkpoint(name, bits):
    """The folder of a synthetic checkpoint, written on demand."""
    folder = ROOT / "build" / "bench" / f"{name}-{bits}bit"
    if not (folder / "config.json").exists():
        subprocess.run(["rm", "-rf", folder], check=True)
        folder.parent.mkdir(parents=True, exist_ok=True)
        subprocess.run([BUILD / "fovea", "synth", name, folder, "--bits", str(bits)], check=True,
                       stdout=subprocess.DEVNULL)
    return folder


def limits(threads):
    environment = dict(os.environ, FOVEA_THREADS=str(threads)) if threads else None
    out = subprocess.run([BUILD / "bench" / "limits_bench"], check=True, capture_output=True,
                         text=True, env=environment).stdout
    return json.loads(out)


def drop_from_cache(folder):
    """Has the system forget the weight files, so that the next run reads the disk."""
    for path in Path(folder).glob("*.safetensors"):
        with open(path, "rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


class Fovea:
    """One checkpoint; `answer` gives the timings of `fovea generate --json` and `wall_ms`."""

    def __init__(self, folder, threads=0, repeats=3):
        self.folder = folder
        self.threads = threads
        self.repeats = repeats
        generation = json.loads((folder / "generation_config.json").read_text())
        stops = generation["eos_token_id"]
        self.stops = stops if isinstance(stops, list) else [stops]
        self.extra = 0
        self.extra = self.answer(8, 1, repeats=1)["prompt_n"] - 8  # tokens of the template

    def words(self, tokens):
        """A text that makes a prompt of this many tokens, the template's included."""
        return " a" * max(1, tokens - self.extra)

    def answer(self, prompt_tokens, new_tokens, image=None, repeats=None, text=None):
        """The median run by `prompt_ms`, of `repeats`."""
        command = [BUILD / "fovea", "generate", "--model", self.folder, "--json", "--temperature",
                   "0", "--max-tokens", str(new_tokens), "--prompt",
                   text or self.words(prompt_tokens)]
        for stop in self.stops:  # random weights may stop at once
            command += ["--logit-bias", f"{stop}=-1000"]
        if image:
            command += ["--image", image]
        if self.threads:
            command += ["--threads", str(self.threads)]
        runs = []
        for _ in range(repeats or self.repeats):
            begin = time.monotonic()
            out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            wall = time.monotonic() - begin
            answer = json.loads(out)
            runs.append({**answer["timings"], "wall_ms": wall * 1000, "images": answer["images"]})
            if wall > LONG_SECONDS:
                break
        return median_run(runs)


def median_run(runs):
    """The run whose prompt_ms is the median, the later of two; figures of different runs do not mix."""
    return dict(sorted(runs, key=lambda run: run["prompt_ms"])[len(runs) // 2], runs=len(runs))

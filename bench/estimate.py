"""What `fovea generate --estimate` says against the peak that the same command then has: one JSON
object a line, `ratio` being estimate over measurement.

    bench/run estimate [--models qwen2_vl-2b,llava-1.5-7b] [--bits 4]
"""
import argparse
import json
import subprocess

import fovea_runs
import pictures

# Prompt tokens, new tokens and picture of each case.
CASES = [(30, 2, None), (400, 2, None), (30, 2, (336, 336)), (30, 2, (640, 480))]


def run(folder, prompt, tokens, image, *flags):
    command = [fovea_runs.BUILD / "fovea", "generate", "--model", folder, "--json", "--max-tokens",
               str(tokens), "--prompt", prompt, *flags]
    if image:
        command += ["--image", image]
    made = subprocess.run(command, check=True, capture_output=True, text=True)
    return json.loads(made.stdout)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--models", default="qwen2_vl-2b")
    parser.add_argument("--bits", default="4")
    flags = parser.parse_args()
    for model in flags.models.split(","):
        for bits in flags.bits.split(","):
            folder = fovea_runs.checkpoint(model, bits)
            for prompt_tokens, tokens, size in CASES:
                image = pictures.picture(folder.parent, *size) if size else None
                prompt = " a" * prompt_tokens
                told = run(folder, prompt, tokens, image, "--estimate")
                peak = run(folder, prompt, tokens, image)["timings"]["peak_memory"]
                print(json.dumps({"bench": "estimate", "model": model, "bits": int(bits),
                                  "text_tokens": prompt_tokens, "picture": size, **told,
                                  "peak": peak, "ratio": round(told["total"] / peak, 3)}),
                      flush=True)


if __name__ == "__main__":
    main()

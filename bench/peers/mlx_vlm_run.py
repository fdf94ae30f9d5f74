#!/usr/bin/env python3
"""mlx-vlm on a folder that `fovea synth` wrote, as one JSON object. Slow on a CPU: minutes for a
picture. Run with build/peers/mlx-vlm-venv/bin/python after `bench/peers/setup mlx_vlm`.
Usage: mlx_vlm_run.py FOLDER [--image FILE] [--text TEXT] [--new-tokens N]"""
import argparse
import json
import resource
import time


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder")
    parser.add_argument("--image", action="append", default=[])
    parser.add_argument("--text", default=" a" * 30)
    parser.add_argument("--new-tokens", type=int, default=4)
    arguments = parser.parse_args()
    from mlx_vlm import load, stream_generate
    from mlx_vlm.prompt_utils import apply_chat_template

    model, processor = load(arguments.folder)
    prompt = apply_chat_template(processor, model.config, arguments.text,
                                 num_images=len(arguments.image))
    begin = time.monotonic()
    first = None
    last = None
    for last in stream_generate(model, processor, prompt, arguments.image or None,
                                max_tokens=arguments.new_tokens, temperature=0.0):
        first = first or time.monotonic() - begin
    print(json.dumps({
        "name": "mlx-vlm", "folder": arguments.folder, "prompt_n": last.prompt_tokens,
        "first_token_ms": first * 1000, "prompt_per_second": last.prompt_tps,
        "predicted_per_second": last.generation_tps,
        "peak_memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024}))


if __name__ == "__main__":
    main()

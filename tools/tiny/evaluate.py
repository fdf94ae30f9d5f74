"""Accuracy by question type on pictures of a seed that training never saw.

Each picture is saved as a PNG and asked about through a whole engine: `fovea generate`, or
transformers. The same questions on a blank picture of the same size show what guessing gives.
"""
import argparse
import json
import random
import subprocess
import tempfile
from collections import defaultdict
from pathlib import Path

from PIL import Image

import questions
import scenes
import scoring

ROOT = Path(__file__).resolve().parents[2]
MIX = {"single": 1, "several": 1, "count": 1, "text": 1, "buttons": 1}
SIZES = [(448, 336), (392, 392), (480, 270)]
LONGEST = 40  # tokens of an answer


def questions_by_kind(seed, each):
    """Up to `each` (scene, question) a kind, one question a scene."""
    rng, kept = random.Random(seed), defaultdict(list)
    for number in range(each * 80):
        scene = scenes.make_scene(rng, MIX, SIZES[number % len(SIZES)])
        for question in questions.ask(rng, scene, 9):
            if question.kind in scoring.KINDS and len(kept[question.kind]) < each:
                kept[question.kind].append((scene, question))
                break
    return kept


def fovea_engine(model):
    def ask(picture, prompt):
        with tempfile.NamedTemporaryFile(suffix=".png") as file:
            picture.save(file.name)
            command = [ROOT / "build/release/fovea", "generate", "--model", model, "--image",
                       file.name, "--prompt", prompt, "--max-tokens", str(LONGEST), "--json"]
            told = subprocess.run(command, capture_output=True, text=True, check=True)
        return json.loads(told.stdout)["text"]
    return ask


def transformers_engine(model):
    import torch
    from transformers import AutoProcessor, Qwen2VLForConditionalGeneration
    processor = AutoProcessor.from_pretrained(model)
    network = Qwen2VLForConditionalGeneration.from_pretrained(model, dtype=torch.float32).eval()

    def ask(picture, prompt):
        content = [{"type": "text", "text": prompt}, {"type": "image"}]
        text = processor.apply_chat_template([{"role": "user", "content": content}],
                                             add_generation_prompt=True)
        inputs = processor(text=[text], images=[picture], return_tensors="pt")
        with torch.no_grad():
            ids = network.generate(**inputs, max_new_tokens=LONGEST, do_sample=False)
        return processor.decode(ids[0, inputs["input_ids"].shape[1]:], skip_special_tokens=True)
    return ask


def share(ask, asked, blank):
    right = 0
    for scene, question in asked:
        picture = Image.new("RGB", scene.picture.size, (200, 200, 200)) if blank else scene.picture
        right += scoring.right(question, ask(picture, question.prompt))
    return 100 * right / max(1, len(asked))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default=str(ROOT / "models/fovea-tiny"))
    parser.add_argument("--n", type=int, default=200, help="questions of each type")
    parser.add_argument("--seed", type=int, default=777_001)
    parser.add_argument("--engine", choices=["fovea", "transformers"], default="fovea")
    options = parser.parse_args()
    ask = (fovea_engine if options.engine == "fovea" else transformers_engine)(options.model)
    print(f"| question type | n | right | on a blank picture |\n|---|---|---|---|", flush=True)
    for kind, asked in sorted(questions_by_kind(options.seed, options.n).items()):
        seen = share(ask, asked, False)
        blind = share(ask, asked[:max(1, options.n // 4)], True)
        print(f"| {kind} | {len(asked)} | {seen:.0f} % | {blind:.0f} % |", flush=True)


if __name__ == "__main__":
    main()

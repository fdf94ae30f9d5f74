"""tests/fixtures/messages: what mlx-vlm renders for prompts and pictures."""

import json
import shutil
import sys
from pathlib import Path

import mlx_vlm.models.idefics3  # noqa: F401 (its processor class)
import mlx_vlm.models.llava  # noqa: F401 (its processor class)
import mlx_vlm.models.qwen2_5_vl  # noqa: F401 (its processor class)
import mlx_vlm.models.qwen2_vl  # noqa: F401 (its processor class)
import mlx_vlm.models.qwen3_vl  # noqa: F401 (its processor class)
from mlx_vlm.prompt_utils import apply_chat_template
from transformers import AutoProcessor

from rows import made_with, write_rows

CHECKPOINTS = {
    "qwen2_vl": "parity/qwen2_vl/checkpoints/hf-f32",
    "llava": "parity/llava/checkpoints/clip-llama-hf-f32",
    "qwen2_5_vl": "parity/qwen2_5_vl/checkpoints/hf-f32",
    "qwen3_vl": "parity/qwen3_vl/checkpoints/hf-f32",
    "idefics3": "parity/idefics3/checkpoints/hf-f32",
}


def said(role, content):
    return {"role": role, "content": content}


TEXT = {"type": "text", "text": "What is this?"}
MARKED = [{"type": "image"}, TEXT]
PROMPTS = {
    "plain text": "What is this?",
    "one user message": [said("user", "What is this?")],
    "system": [said("system", "Be brief."), said("user", "What is this?")],
    "two turns": [
        said("system", "Be brief."),
        said("user", "Hi"),
        said("assistant", "Hello!"),
        said("user", "What is this?"),
    ],
    "two user strings": ["First.", "Second."],
    "marked picture first": [said("user", MARKED)],
    "marked picture last": [said("user", [TEXT, {"type": "image"}])],
    "marked in the first turn": [
        said("user", MARKED),
        said("assistant", "A cat."),
        said("user", "And now?"),
    ],
    "marked in both turns": [
        said("user", MARKED),
        said("assistant", "A cat."),
        said("user", MARKED),
    ],
    "picture between texts": [
        said("user", [TEXT, {"type": "image"}, {"type": "text", "text": "And why?"}])
    ],
    "picture address": [said("user", [{"type": "image_url", "image_url": {"url": "a.png"}}, TEXT])],
    "input_image": [
        said(
            "user",
            [
                {"type": "input_image", "image_url": "a.png"},
                {"type": "input_text", "text": "What?"},
            ],
        )
    ],
    "system parts": [said("system", [{"type": "text", "text": "Be brief."}]), said("user", "Hi")],
    "assistant parts": [
        said("user", "Hi"),
        said("assistant", [{"type": "text", "text": "Hello!"}]),
        said("user", "Again"),
    ],
    "empty text": [said("user", "")],
}


def main(root):
    folder = Path(root) / "messages"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for family, checkpoint in CHECKPOINTS.items():
        processor = AutoProcessor.from_pretrained(Path(root) / checkpoint)
        config = json.loads((Path(root) / checkpoint / "config.json").read_text())
        cases = []
        for name, prompt in PROMPTS.items():
            for pictures in (0, 1, 2):
                rendered = apply_chat_template(processor, config, prompt, num_images=pictures)
                cases.append(
                    {
                        "name": name,
                        "prompt": prompt,
                        "images": pictures,
                        "rendered": rendered,
                    }
                )
        write_rows(
            folder / f"{family}.json",
            {"made_with": made_with("mlx-vlm"), "checkpoint": checkpoint, "cases": cases},
        )
        print(f"{family}: {len(cases)} prompts")


if __name__ == "__main__":
    main(sys.argv[1])

"""tests/fixtures/parity/qwen2_5_vl_video: Hugging Face's model answers, since mlx-vlm does not count
time by the seconds between frames. Pixels are mlx-vlm's."""

import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import save_file
from transformers import AutoTokenizer, Qwen2_5_VLForConditionalGeneration
from transformers.video_utils import VideoMetadata

from case_files import GREEDY_TOKENS
from clips import H264, encode, moving_disc
from rows import made_with, write_json
from video_checkpoints import clear_question, with_videos

SETTINGS = {"patch_size": 4, "min_pixels": 256, "max_pixels": 2304}


def ask(text):
    return [{"role": "user", "content": text}]


class Reference:
    packages = ("torch", "transformers", "tokenizers", "numpy")

    def __init__(self, folder, videos, fps):
        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        self.model = Qwen2_5_VLForConditionalGeneration.from_pretrained(
            folder, dtype=torch.float32, attn_implementation="eager"
        ).eval()
        with tempfile.NamedTemporaryFile(suffix=".npz") as out:
            script = Path(__file__).with_name("video_inputs.py")
            python = "build/reference-venv/bin/python"
            arguments = [str(folder), str(fps), out.name, *map(str, videos)]
            subprocess.run([python, str(script), *arguments], check=True)
            found = np.load(out.name)
            self.pixels, self.grid = found["pixel_values"], found["grid"]
            rows = zip(found["totals"], found["rates"], found["taken"])
        # With as many frames as were taken, whichever they are.
        rates = [
            VideoMetadata(int(total), float(rate), frames_indices=list(range(taken))).sampled_fps
            for total, rate, taken in rows
        ]
        self.seconds = [2 / rate for rate in rates]

    def prepare(self, messages, videos):
        entries = [{"type": "video"} for _ in videos]
        built = [
            {**message, "content": entries + [{"type": "text", "text": message["content"]}]}
            for message in messages
        ]
        prompt = self.tokenizer.apply_chat_template(
            built, tokenize=False, add_generation_prompt=True
        )
        counts = iter(self.grid.prod(-1) // 4)
        ids = []
        for token in self.tokenizer(prompt).input_ids:
            video = token == self.model.config.video_token_id
            ids += [token] * (int(next(counts)) if video else 1)
        return built, prompt, torch.tensor([ids])

    def inputs(self, ids):
        return {
            "input_ids": ids,
            "mm_token_type_ids": 2 * (ids == self.model.config.video_token_id).int(),
            "video_grid_thw": torch.tensor(self.grid).long(),
            "second_per_grid_ts": torch.tensor(self.seconds),
        }

    @torch.no_grad()
    def stages(self, ids):
        inputs = self.inputs(ids)
        pixels = torch.tensor(self.pixels)
        core = self.model.model
        features = core.get_video_features(pixels, inputs["video_grid_thw"]).pooler_output
        logits = self.model(**inputs, pixel_values_videos=pixels).logits
        return {
            "input_ids": ids[0].int().numpy(),
            "pixel_values": self.pixels,
            "image_grid_thw": self.grid.astype(np.int32),
            "image_features": torch.cat(list(features)).numpy(),
            "position_ids": core.get_rope_index(**inputs)[0][:, 0].int().numpy(),
            "logits": logits[0, -1].numpy(),
        }

    @torch.no_grad()
    def greedy(self, ids, chunk, least=0):
        answer = self.model.generate(
            **self.inputs(ids),
            pixel_values_videos=torch.tensor(self.pixels),
            max_new_tokens=GREEDY_TOKENS,
            do_sample=False,
            return_dict_in_generate=True,
            output_logits=True,
        )
        tokens = answer.sequences[0, ids.shape[1] :].tolist()
        margins = []
        for logits in answer.logits:
            values = np.sort(logits[0].numpy())
            margins.append(float((values[-1] - values[-2]) / values.std()))
        return tokens, min(margins)


def clips():
    """name -> (frames a second to take, file -> (frames, rate)); wide enough that what follows a
    video begins behind its columns, where Hugging Face and mlx-vlm agree."""
    return {
        "one_video": (2, {"clip.mp4": (moving_disc(96, 48, 50, 1), "25")}),
        "slow": (1, {"clip.mp4": (moving_disc(160, 24, 120, 2), "24000/1001")}),
        "two_videos": (
            2,
            {
                "first.mp4": (moving_disc(100, 40, 40, 3), "20"),
                "second.mkv": (moving_disc(90, 50, 30, 4), "15"),
            },
        ),
    }


def write_case(case, folder, fps, videos):
    case.mkdir(parents=True)
    for file, (frames, rate) in videos.items():
        encode(frames, case / file, rate, H264)
    paths = [case / file for file in videos]
    reference = Reference(folder, paths, fps)
    margin, messages = clear_question(reference, ask, paths)
    request = {
        "checkpoint": f"../../checkpoints/{folder.name}",
        "messages": messages,
        "images": [],
        "videos": list(videos),
        "fps": fps,
        "max_tokens": GREEDY_TOKENS,
        "temperature": 0,
    }
    write_json(case / "request.json", request)
    built, prompt, ids = reference.prepare(messages, paths)
    found = reference.stages(ids)
    found["greedy"] = np.array(reference.greedy(ids, 2048)[0], np.int32)
    save_file(
        {key: np.ascontiguousarray(value) for key, value in found.items()},
        case / "stages.safetensors",
    )
    manifest = {
        "checkpoint": folder.name,
        "dtype": "float32",
        "made_with": made_with(*reference.packages),
        "messages": built,
        "prompt": prompt,
        "second_per_grid_ts": reference.seconds,
        "smallest_greedy_margin": round(margin, 3),
        "shapes": {key: list(value.shape) for key, value in found.items()},
    }
    write_json(case / "manifest.json", manifest)
    print(f"qwen2_5_vl_video {case.name}: margin {margin:.3f}", flush=True)


def main(root):
    source = Path(root) / "parity" / "qwen2_5_vl" / "checkpoints" / "hf-f32"
    family = Path(root) / "parity" / "qwen2_5_vl_video"
    folder = family / "checkpoints" / "hf-f32"
    with_videos(source, family, folder, SETTINGS)
    for name, (fps, videos) in clips().items():
        write_case(family / "cases" / name, folder, fps, videos)


if __name__ == "__main__":
    main(sys.argv[1])

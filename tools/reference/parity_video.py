"""tests/fixtures/parity/qwen2_vl_video and qwen3_vl_video: clips through mlx-vlm, which decodes them
with OpenCV. The checkpoints are those of the families, with a template that knows videos."""

import sys
from pathlib import Path

import numpy as np
from mlx_vlm import generate
from mlx_vlm.generate.dispatch import _prepare_generation_inputs
from mlx_vlm.prompt_utils import apply_chat_template
from safetensors.numpy import save_file

from case_files import GREEDY_TOKENS, user
from clips import H264, encode, moving_disc
from parity_cases import Reference, plain, recording
from rows import made_with, write_json
from video_checkpoints import clear_question, with_videos

SETTINGS = {
    "qwen2_vl": {"patch_size": 4, "min_pixels": 256, "max_pixels": 1536},
    "qwen3_vl": {"patch_size": 4, "size": {"shortest_edge": 256, "longest_edge": 2048}},
}


class VideoReference(Reference):
    """A loaded checkpoint that is asked about videos."""

    packages = (*Reference.packages, "opencv-python")

    def __init__(self, folder, fps):
        super().__init__(folder)
        self.fps = fps

    def prepare(self, messages, videos):
        paths = [str(video) for video in videos]
        shown = {"num_images": 0, "video": paths, "fps": self.fps}
        built = apply_chat_template(
            self.processor, self.config, messages, return_messages=True, **shown
        )
        for message in built:
            for entry in message["content"]:
                if "video" in entry:
                    entry["video"] = Path(entry["video"]).name
        prompt = apply_chat_template(self.processor, self.config, messages, **shown)
        ids, _, mask, extra = _prepare_generation_inputs(
            self.model, self.processor, prompt, None, None, paths, {"fps": self.fps}
        )
        return built, prompt, ids, None, mask, extra

    def stages(self, ids, pixels, mask, extra):
        features = []
        with recording(type(self.model.vision_tower), features):
            found = super().stages(ids, pixels, mask, extra)
        merged = features[0][0] if isinstance(features[0], tuple) else features[0]
        return {
            **found,
            "pixel_values": plain(extra["pixel_values_videos"]),
            "image_grid_thw": plain(extra["video_grid_thw"]),
            "image_features": plain(merged.reshape(-1, merged.shape[-1])),
        }

    def greedy_tokens(self, prompt, paths, inputs):
        answers = [self.greedy(*inputs, chunk=chunk)[0] for chunk in (2048, 3, None)]
        result = generate(
            self.model,
            self.processor,
            prompt,
            video=[str(path) for path in paths],
            fps=self.fps,
            max_tokens=GREEDY_TOKENS,
            temperature=0.0,
        )
        answers.append(list(result.token_ids))
        if any(answer != answers[0] for answer in answers):
            raise SystemExit(f"greedy tokens depend on the way they are made: {answers}")
        return np.array(answers[0], np.int32)


def clips():
    """name -> (frames a second to take, file -> (frames, rate, encoding))"""
    return {
        "one_video": (2, {"clip.mp4": (moving_disc(64, 48, 75, 1), "25", H264)}),
        "odd_rate": (1, {"clip.mkv": (moving_disc(50, 70, 150, 2), "30000/1001", H264)}),
        "two_videos": (
            2,
            {
                "first.mp4": (moving_disc(40, 60, 40, 3), "10", H264),
                "second.avi": (moving_disc(96, 32, 30, 4), "15", ["-c:v", "mjpeg"]),
            },
        ),
    }


def write_case(case, checkpoint, reference, fps, videos):
    case.mkdir(parents=True)
    for file, (frames, rate, options) in videos.items():
        encode(frames, case / file, rate, options)
    paths = [case / file for file in videos]
    margin, messages = clear_question(reference, user, paths)
    request = {
        "checkpoint": f"../../checkpoints/{checkpoint}",
        "messages": messages,
        "images": [],
        "videos": list(videos),
        "fps": fps,
        "max_tokens": GREEDY_TOKENS,
        "temperature": 0,
    }
    write_json(case / "request.json", request)
    built, prompt, *inputs = reference.prepare(messages, paths)
    found = reference.stages(*inputs)
    found["greedy"] = reference.greedy_tokens(prompt, paths, inputs)
    if case.name != "one_video":
        found = {key: found[key] for key in found if not key.startswith(("hidden", "inputs_"))}
    stored = {key: np.ascontiguousarray(value) for key, value in found.items()}
    save_file(stored, case / "stages.safetensors")
    text = reference.tokenizer.decode(found["greedy"].tolist())
    manifest = {
        "checkpoint": checkpoint,
        "dtype": reference.dtype,
        "made_with": made_with(*reference.packages),
        "messages": built,
        "prompt": prompt,
        "prompt_tokens": int(inputs[0].size),
        "text": text,
        "smallest_greedy_margin": round(margin, 3),
        "shapes": {key: list(value.shape) for key, value in found.items()},
    }
    write_json(case / "manifest.json", manifest)
    print(f"{case.parent.parent.name} {case.name}: margin {margin:.3f}, {text!r}", flush=True)


def main(root):
    for family, settings in SETTINGS.items():
        folder = Path(root) / "parity" / f"{family}_video"
        source = Path(root) / "parity" / family / "checkpoints" / "hf-f32"
        with_videos(source, folder, folder / "checkpoints" / "hf-f32", settings)
        for name, (fps, videos) in clips().items():
            reference = VideoReference(folder / "checkpoints" / "hf-f32", fps)
            write_case(folder / "cases" / name, "hf-f32", reference, fps, videos)


if __name__ == "__main__":
    main(sys.argv[1])

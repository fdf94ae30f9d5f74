"""tests/fixtures/parity/smolvlm_video: Hugging Face's frames, words and model; mlx-vlm gives SmolVLM
frames as it gives them to families that know no videos. Frames are OpenCV's, resized by Pillow: Hugging
Face's video processor does the same steps on tensors, whose filters differ."""

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
from safetensors.numpy import save_file
from transformers import AutoTokenizer, SmolVLMForConditionalGeneration
from transformers.models.smolvlm import processing_smolvlm
from transformers.models.smolvlm.image_processing_pil_smolvlm import SmolVLMImageProcessorPil
from transformers.models.smolvlm.video_processing_smolvlm import SmolVLMVideoProcessor
from transformers.video_utils import VideoMetadata

from case_files import GREEDY_TOKENS
from clips import H264, encode, moving_disc
from rows import made_with, write_json
from video_checkpoints import clear_question

SAMPLING = {"fps": 1, "max_frames": 5, "video_size": {"longest_edge": 20}}
WORDS = {3: "three", 4: "four", 5: "five"}  # of the package num2words
IMAGE, AROUND, WHOLE, LENGTH = "<image>", "<fake_token_around_image>", "<global-img>", 4
ONE_FRAME = AROUND + WHOLE + IMAGE * LENGTH + AROUND


def checkpoint(source, family):
    folder = family / "checkpoints" / "hf-f32"
    shutil.rmtree(family, ignore_errors=True)
    shutil.copytree(source, folder)
    config = json.loads((folder / "config.json").read_text())
    config |= {"model_type": "smolvlm", "architectures": ["SmolVLMForConditionalGeneration"]}
    config["vision_config"]["model_type"] = "smolvlm_vision"
    write_json(folder / "config.json", config)
    pictures = json.loads((folder / "preprocessor_config.json").read_text())
    pictures |= {
        "image_processor_type": "SmolVLMImageProcessor",
        "processor_class": "SmolVLMProcessor",
        "video_sampling": SAMPLING,
    }
    write_json(folder / "preprocessor_config.json", pictures)
    return folder


def frames_of(clip):
    with tempfile.NamedTemporaryFile(suffix=".npy") as out:
        script = Path(__file__).with_name("clip_frames.py")
        subprocess.run(
            ["build/reference-venv/bin/python", str(script), str(clip), out.name], check=True
        )
        return np.load(out.name)


class Reference:
    packages = ("torch", "transformers", "tokenizers", "pillow", "numpy")

    def __init__(self, folder, clip, rate):
        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        self.model = SmolVLMForConditionalGeneration.from_pretrained(
            folder, dtype=torch.float32, attn_implementation="eager"
        ).eval()
        frames = frames_of(clip)
        self.metadata = VideoMetadata(
            len(frames), float(rate), duration=len(frames) / float(rate)
        )
        sampler = SmolVLMVideoProcessor(video_sampling=dict(SAMPLING), size={"longest_edge": 24})
        chosen = sampler.sample_frames(self.metadata)
        self.metadata.frames_indices = [int(i) for i in chosen]
        pictures = SmolVLMImageProcessorPil(
            do_image_splitting=False,
            size=SAMPLING["video_size"],
            max_image_size={"longest_edge": 8},
            image_mean=[0.5] * 3,
            image_std=[0.5] * 3,
        )
        self.pixels = pictures([list(frames[chosen])], return_tensors="pt")["pixel_values"]

    def words(self):
        processing_smolvlm.num2words = WORDS.__getitem__
        names = SimpleNamespace(
            image_seq_len=LENGTH,
            image_token=IMAGE,
            fake_image_token=AROUND,
            global_image_token=WHOLE,
        )
        found = {"pixel_values": self.pixels, "video_metadata": [self.metadata]}
        return processing_smolvlm.SmolVLMProcessor.replace_video_token(names, found, 0)

    def prepare(self, messages, paths):
        built = [
            {
                **message,
                "content": [
                    {"type": "text", "text": self.words()},
                    {"type": "text", "text": message["content"]},
                ],
            }
            for message in messages
        ]
        prompt = self.tokenizer.apply_chat_template(
            built, tokenize=False, add_generation_prompt=True
        )
        ids = torch.tensor([self.tokenizer(prompt).input_ids])
        return built, prompt.replace(ONE_FRAME, IMAGE), ids

    @torch.no_grad()
    def stages(self, ids):
        features = self.model.model.get_image_features(self.pixels)
        features = getattr(features, "pooler_output", features)
        features = torch.cat(list(features)).reshape(-1, features[0].shape[-1])
        return {
            "input_ids": ids[0].int().numpy(),
            "pixel_values": self.pixels[0].numpy(),
            "image_features": features.numpy(),
            "position_ids": np.arange(ids.shape[1], dtype=np.int32),
            "logits": self.model(input_ids=ids, pixel_values=self.pixels).logits[0, -1].numpy(),
        }

    @torch.no_grad()
    def greedy(self, ids, chunk, least=0):
        answer = self.model.generate(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            pixel_values=self.pixels,
            max_new_tokens=GREEDY_TOKENS,
            do_sample=False,
            return_dict_in_generate=True,
            output_logits=True,
        )
        margins = []
        for logits in answer.logits:
            values = np.sort(logits[0].numpy())
            margins.append(float((values[-1] - values[-2]) / values.std()))
        return answer.sequences[0, ids.shape[1] :].tolist(), min(margins)


def ask(text):
    return [{"role": "user", "content": text}]


def clips():
    """name -> (frames, rate): one shorter than a second for each frame allowed, one longer, of which
    the first and the last second are left out."""
    return {
        "one_video": (moving_disc(64, 48, 40, 1), "10"),
        "long": (moving_disc(50, 70, 90, 2), "5"),
    }


def write_case(case, folder, frames, rate):
    case.mkdir(parents=True)
    path = case / "clip.mp4"
    encode(frames, path, rate, H264)
    reference = Reference(folder, path, rate)
    margin, messages = clear_question(reference, ask, [path])
    request = {
        "checkpoint": f"../../checkpoints/{folder.name}",
        "messages": messages,
        "images": [],
        "videos": [path.name],
        "max_tokens": GREEDY_TOKENS,
        "temperature": 0,
    }
    write_json(case / "request.json", request)
    built, prompt, ids = reference.prepare(messages, [path])
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
        "frames": reference.metadata.frames_indices,
        "smallest_greedy_margin": round(margin, 3),
        "shapes": {key: list(value.shape) for key, value in found.items()},
    }
    write_json(case / "manifest.json", manifest)
    print(f"smolvlm_video {case.name}: margin {margin:.3f}", flush=True)


def main(root):
    family = Path(root) / "parity" / "smolvlm_video"
    folder = checkpoint(Path(root) / "parity" / "idefics3" / "checkpoints" / "hf-f32", family)
    for name, (frames, rate) in clips().items():
        write_case(family / "cases" / name, folder, frames, rate)


if __name__ == "__main__":
    main(sys.argv[1])

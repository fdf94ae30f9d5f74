"""tests/fixtures/parity/phi3_v: Hugging Face's CLIP tower and phi3 decoder, joined as Microsoft's code
of the checkpoint joins them. mlx-vlm fixes the tower's size, lays tiles out in another order,
stretches pictures and drops the first token behind each."""

import math
import sys
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch.nn import functional
from torchvision.transforms.functional import normalize, pad, resize, to_tensor
from transformers import (
    CLIPVisionConfig,
    CLIPVisionModel,
    Phi3Config,
    Phi3ForCausalLM,
)

from case_files import TWO, Case, usual_cases
from sidecars import CLIP_MEAN, CLIP_STD, small, small_tower, tokenizer_files
from tiny_tokenizers import sentencepiece_bpe
from torch_cases import Checkpoint, ComposedReference, write_family

SEED = 4
SPECIALS = ["<|endoftext|>", "<|assistant|>", "<|image|>", "<|system|>", "<|end|>", "<|user|>"]
TEMPLATE = (
    "{% for message in messages %}{{'<|' + message['role'] + '|>' + '\n' + message['content'] + "
    "'<|end|>\n' }}{% endfor %}{% if add_generation_prompt %}{{- '<|assistant|>\n' -}}{% endif %}"
)
TILE, PATCH, CROPS = 8, 2, 4
SIDE = TILE // PATCH // 2
VISION = small_tower("clip_vision_model", image_size=TILE, patch_size=PATCH)
GROUP = 64  # as released 4-bit checkpoints have it


def configured():
    """A released config says no sizes of the tower; a tiny one must."""
    tokenizer = sentencepiece_bpe(350, specials=SPECIALS)
    config = {
        **small("phi3_v", hidden_size=GROUP, num_attention_heads=4, max_position_embeddings=160),
        "architectures": ["Phi3VForCausalLM"],
        "bos_token_id": 1,
        "eos_token_id": 2,
        "embd_layer": {
            "embedding_cls": "image",
            "hd_transform_order": "sub_glb",
            "projection_cls": "mlp",
            "use_hd_transform": True,
            "with_learnable_separator": True,
        },
        "hidden_act": "silu",
        "img_processor": {
            "image_dim_out": VISION["hidden_size"],
            "model_name": "openai/clip-vit-large-patch14-336",
            "name": "clip_vision_model",
            "num_img_tokens": SIDE * SIDE,
        },
        "original_max_position_embeddings": 40,
        "rms_norm_eps": 1e-05,
        "rope_scaling": {
            "long_factor": [1.05, 1.2, 1.5, 2.0, 3.1, 4.2, 5.5, 6.0],
            "short_factor": [1.0, 1.05, 1.1, 1.2, 1.25, 1.3, 1.45, 1.5],
            "type": "su",
        },
        "rope_theta": 10000.0,
        "sliding_window": 262144,
        "tie_word_embeddings": False,
        "torch_dtype": "bfloat16",
        "vision_config": VISION,
        "vocab_size": 352,
    }
    tokens = {"bos_token": "<s>", "eos_token": "<|endoftext|>", "unk_token": "<unk>"}
    ends = [tokenizer.token_to_id(text) for text in ("<|end|>", "<|assistant|>", "<|endoftext|>")]
    return config, {
        "generation_config.json": {"bos_token_id": 1, "eos_token_id": ends, "pad_token_id": ends[2]},
        "preprocessor_config.json": {
            "image_mean": CLIP_MEAN,
            "image_processor_type": "Phi3VImageProcessor",
            "image_std": CLIP_STD,
            "num_crops": CROPS,
            "num_img_tokens": SIDE * SIDE,
            "processor_class": "Phi3VProcessor",
        },
        **tokenizer_files(tokenizer, tokens, TEMPLATE),
    }


class Phi3V(torch.nn.Module):
    def __init__(self, config):
        super().__init__()
        width, hidden = VISION["hidden_size"] * 4, config["hidden_size"]
        vision = {key: VISION[key] for key in VISION if key != "model_type"}
        self.tower = CLIPVisionModel(CLIPVisionConfig(**vision, attn_implementation="eager"))
        rope = {**config["rope_scaling"], "rope_theta": config["rope_theta"]}
        rope["original_max_position_embeddings"] = config["original_max_position_embeddings"]
        rope["rope_type"] = "longrope"  # what transformers calls su today
        del rope["type"]
        keys = Phi3Config().to_dict().keys() & config.keys() - {"model_type", "architectures"}
        text = {key: config[key] for key in keys}
        self.decoder = Phi3ForCausalLM(
            Phi3Config(**text, rope_parameters=rope, pad_token_id=0, attn_implementation="eager")
        )
        self.glb_GN = torch.nn.Parameter(torch.zeros(1, 1, width))
        self.sub_GN = torch.nn.Parameter(torch.zeros(1, 1, 1, width))
        self.img_projection = torch.nn.Sequential(
            torch.nn.Linear(width, hidden), torch.nn.GELU(), torch.nn.Linear(hidden, hidden)
        )

    def lines(self, patches, rows, columns):
        """[tiles, patches, C] -> the picture's merged rows, sub_GN behind each."""
        c = VISION["hidden_size"]
        merged = patches.reshape(rows, columns, SIDE, 2, SIDE, 2, c).permute(0, 2, 1, 4, 3, 5, 6)
        grid = merged.reshape(rows * SIDE, columns * SIDE, 4 * c)
        ends = self.sub_GN.reshape(1, 1, -1).expand(rows * SIDE, 1, -1)
        return torch.cat([grid, ends], 1).reshape(-1, 4 * c)

    def features(self, tiles, rows, columns):
        states = self.tower(tiles, output_hidden_states=True).hidden_states[-2][:, 1:]
        small, large = self.lines(states[:1], 1, 1), self.lines(states[1:], rows, columns)
        return self.img_projection(torch.cat([large, self.glb_GN[0], small]))


def released_name(name):
    for old, new in (
        ("decoder.", ""),
        ("tower.", "model.vision_embed_tokens.img_processor.vision_model."),
        ("", "model.vision_embed_tokens."),
    ):
        if name.startswith(old):
            return new + name.removeprefix(old).removeprefix("vision_model.")
    return name


def enlarged(picture):
    """Microsoft's HD_transform, with tiles of TILE pixels."""
    lying = picture.width >= picture.height
    if not lying:
        picture = picture.transpose(Image.Transpose.TRANSPOSE)
    ratio = picture.width / picture.height
    scale = 1
    while scale * math.ceil(scale / ratio) <= CROPS:
        scale += 1
    width = (scale - 1) * TILE
    picture = resize(picture, [int(width / ratio), width])
    height = math.ceil(picture.height / TILE) * TILE
    top = (height - picture.height) // 2
    picture = pad(picture, [0, top, 0, height - picture.height - top], fill=[255, 255, 255])
    return picture if lying else picture.transpose(Image.Transpose.TRANSPOSE)


class Reference(ComposedReference):
    def pictures(self, paths):
        """The small view and the tiles of each, with the grid."""
        made = []
        for path in paths:
            canvas = normalize(to_tensor(enlarged(Image.open(path).convert("RGB"))), CLIP_MEAN, CLIP_STD)
            rows, columns = canvas.shape[1] // TILE, canvas.shape[2] // TILE
            view = functional.interpolate(canvas[None], size=(TILE, TILE), mode="bicubic")
            tiles = canvas.reshape(3, rows, TILE, columns, TILE).permute(1, 3, 0, 2, 4)
            made.append((torch.cat([view, tiles.reshape(-1, 3, TILE, TILE)]), rows, columns))
        return made

    def prepare(self, messages, paths):
        marks = "".join(f"<|image_{i + 1}|>\n" for i in range(len(paths)))
        content = [{**messages[0], "content": marks + messages[0]["content"]}]
        pictures = self.pictures(paths)
        counts = [(r * c + 1) * SIDE**2 + 1 + (r + 1) * SIDE for _, r, c in pictures]
        image = self.tokenizer.convert_tokens_to_ids("<|image|>")
        # Each piece of text is tokenised by itself, with what the tokenizer puts before a text.
        prompt, inputs = self.in_pieces(content, r"<\|image_\d+\|>", counts, image)
        return content, prompt, {**inputs, "pictures": pictures}

    def stages(self, inputs):
        found = super().stages(inputs)
        # The second row is the last position that was known: longrope depends on it.
        length = len(inputs["ids"])
        last = np.full(length, length - 1, np.int32)
        found["position_ids"] = np.stack([found["position_ids"], last])
        return found


def main(root):
    config, sidecars = configured()
    checkpoints = {
        "hf-bf16": Checkpoint(
            config, sidecars, released_name, lambda config: Phi3V(config).eval()
        ),
        "mlx-4bit": Checkpoint(config, sidecars, released_name, group=GROUP),
    }
    cases = usual_cases("hf-bf16", wide=(95, 14), tall=(16, 75), turns=False)
    cases["short_text"] = cases.pop("text_only")
    cases["two_pictures_4bit"] = Case("mlx-4bit", pictures=TWO)
    write_family(Path(root) / "parity" / "phi3_v", checkpoints, cases, SEED, Reference)


if __name__ == "__main__":
    main(sys.argv[1])

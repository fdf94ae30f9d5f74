"""tests/fixtures/parity/phi3_v: Hugging Face's CLIP tower and phi3 decoder, joined as Microsoft's code
of the checkpoint joins them. mlx-vlm fixes the tower's size, lays tiles out in another order,
stretches pictures and drops the first token behind each."""

import json
import math
import shutil
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

from case_files import test_picture, user
from tiny_tokenizers import sentencepiece_bpe
from torch_cases import (
    ComposedReference,
    quiet,
    write_case,
    write_hugging_face,
    write_mlx_4bit,
)

SEED = 3
SPECIALS = ["<|endoftext|>", "<|assistant|>", "<|image|>", "<|system|>", "<|end|>", "<|user|>"]
TEMPLATE = (
    "{% for message in messages %}{{'<|' + message['role'] + '|>' + '\n' + message['content'] + "
    "'<|end|>\n' }}{% endfor %}{% if add_generation_prompt %}{{- '<|assistant|>\n' -}}{% endif %}"
)
TILE, PATCH, CROPS = 16, 4, 4
SIDE = TILE // PATCH // 2
MEAN = [0.48145466, 0.4578275, 0.40821073]
STD = [0.26862954, 0.26130258, 0.27577711]
VISION = {
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "image_size": TILE,
    "patch_size": PATCH,
}


def configured():
    """A released config says no sizes of the tower; a tiny one must."""
    tokenizer = sentencepiece_bpe(370, specials=SPECIALS)
    config = {
        "architectures": ["Phi3VForCausalLM"],
        "model_type": "phi3_v",
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
        "hidden_size": 64,
        "img_processor": {
            "image_dim_out": 16,
            "model_name": "openai/clip-vit-large-patch14-336",
            "name": "clip_vision_model",
            "num_img_tokens": SIDE * SIDE,
        },
        "intermediate_size": 64,
        "max_position_embeddings": 160,
        "num_attention_heads": 4,
        "num_hidden_layers": 2,
        "num_key_value_heads": 2,
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
        "vocab_size": 384,
    }
    tokens = {"bos_token": "<s>", "eos_token": "<|endoftext|>", "unk_token": "<unk>"}
    ends = [tokenizer.token_to_id(text) for text in ("<|end|>", "<|assistant|>", "<|endoftext|>")]
    sidecars = {
        "generation_config.json": {"bos_token_id": 1, "eos_token_id": ends, "pad_token_id": ends[2]},
        "preprocessor_config.json": {
            "image_mean": MEAN,
            "image_processor_type": "Phi3VImageProcessor",
            "image_std": STD,
            "num_crops": CROPS,
            "num_img_tokens": SIDE * SIDE,
            "processor_class": "Phi3VProcessor",
        },
        "special_tokens_map.json": tokens,
        "tokenizer.json": json.loads(tokenizer.to_str()),
        "tokenizer_config.json": {
            **tokens,
            "clean_up_tokenization_spaces": False,
            "tokenizer_class": "PreTrainedTokenizerFast",
            "chat_template": TEMPLATE,
        },
    }
    return config, sidecars


class Phi3V(torch.nn.Module):
    def __init__(self, config):
        super().__init__()
        width, hidden = VISION["hidden_size"] * 4, config["hidden_size"]
        self.tower = CLIPVisionModel(CLIPVisionConfig(**VISION, attn_implementation="eager"))
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
            canvas = normalize(to_tensor(enlarged(Image.open(path).convert("RGB"))), MEAN, STD)
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


def cases():
    """name -> (checkpoint, messages for a question, pictures)"""
    one = {"picture.png": test_picture(45, 37, 1)}
    two = {"first.png": test_picture(30, 50, 2), "second.png": test_picture(64, 20, 3)}
    return {
        "one_picture": ("hf-bf16", user, one),
        "two_pictures": ("hf-bf16", user, two),
        "tiny_picture": ("hf-bf16", user, {"picture.png": test_picture(1, 1, 4)}),
        "wide_picture": ("hf-bf16", user, {"picture.png": test_picture(190, 27, 3)}),
        "tall_picture": ("hf-bf16", user, {"picture.png": test_picture(31, 150, 1)}),
        "short_text": ("hf-bf16", user, {}),
        "two_pictures_4bit": ("mlx-4bit", user, two),
    }


def main(root):
    quiet()
    folder = Path(root) / "parity" / "phi3_v"
    shutil.rmtree(folder, ignore_errors=True)
    checkpoints = folder / "checkpoints"
    config, sidecars = configured()
    model = Phi3V(config).eval()
    write_hugging_face(checkpoints / "hf-bf16", config, sidecars, model, released_name, SEED)
    for name, (checkpoint, ask, pictures) in cases().items():
        if checkpoint == "mlx-4bit":  # last: the model takes the rounded values
            write_mlx_4bit(checkpoints / checkpoint, config, sidecars, model, released_name)
        write_case(
            folder, checkpoint, name, ask, pictures, SEED, Reference(checkpoints / checkpoint, model)
        )


if __name__ == "__main__":
    main(sys.argv[1])

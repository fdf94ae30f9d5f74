"""tests/fixtures/parity/llava_bunny: nanoLLaVA and Bunny, from Hugging Face's SigLIP and qwen2 or
llama, joined as the checkpoint's code joins them. mlx-vlm asserts the tower's real size, takes one
picture and another GELU, and never pads."""

import json
import sys
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
    SiglipVisionConfig,
    SiglipVisionModel,
)

from case_files import TWO, Case, usual_cases
from sidecars import QWEN_TOKENS, small, small_tower, tokenizer_files
from tiny_tokenizers import byte_level_bpe, sentencepiece_bpe
from torch_cases import Checkpoint, ComposedReference, write_family

SEED = 4
SIZE, PATCH = 8, 2
SPECIALS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
TEMPLATE = (
    "{% for message in messages %}"
    "{% if loop.first and messages[0]['role'] != 'system' %}"
    "{{ '<|im_start|>system\nAnswer the questions.<|im_end|>' }}{% endif %}"
    "{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>'}}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
VISION = small_tower("siglip_vision_model", image_size=SIZE, patch_size=PATCH)


def configured(pads):
    tokenizer = byte_level_bpe(288, SPECIALS)
    config = {
        **small("llava-qwen2"),
        "architectures": ["LlavaQwen2ForCausalLM"],
        "attention_dropout": 0.0,
        "bos_token_id": tokenizer.token_to_id("<|endoftext|>"),
        "eos_token_id": tokenizer.token_to_id("<|im_end|>"),
        "hidden_act": "silu",
        "max_window_layers": 2,
        "mm_hidden_size": VISION["hidden_size"],
        "mm_projector_type": "mlp2x_gelu",
        "mm_vision_tower": "google/siglip-so400m-patch14-384",
        "rms_norm_eps": 1e-06,
        "rope_theta": 1000000.0,
        "sliding_window": 512,
        "tie_word_embeddings": False,
        "use_mm_proj": True,
        "use_sliding_window": False,
        "vision_config": VISION,
        "vocab_size": 288,
        **({"image_aspect_ratio": "pad"} if pads else {}),
    }
    return config, {
        "generation_config.json": {"eos_token_id": config["eos_token_id"]},
        **tokenizer_files(tokenizer, QWEN_TOKENS, TEMPLATE),
    }


# Bunny's chat format, without its system line.
LLAMA_TEMPLATE = (
    "{% for message in messages %}{{ message['role'].upper() + ': ' + message['content'] + ' ' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ 'ASSISTANT:' }}{% endif %}"
)


def configured_llama():
    """A tokenizer that begins every text with a token of its own."""
    config, _ = configured(pads=False)
    for key in ("max_window_layers", "sliding_window", "use_sliding_window"):
        del config[key]
    config |= {"architectures": ["BunnyLlamaForCausalLM"], "model_type": "bunny-llama"}
    config |= {"bos_token_id": 1, "eos_token_id": 2, "vocab_size": 352}
    tokens = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
    return config, {
        "generation_config.json": {"eos_token_id": 2},
        **tokenizer_files(sentencepiece_bpe(346), tokens, LLAMA_TEMPLATE),
    }


class Bunny(torch.nn.Module):
    def __init__(self, config):
        super().__init__()
        width, hidden = VISION["hidden_size"], config["hidden_size"]
        vision = {key: VISION[key] for key in VISION if key != "model_type"}
        self.tower = SiglipVisionModel(
            SiglipVisionConfig(**vision, vision_use_head=False, attn_implementation="eager")
        )
        kind, decoder = Qwen2Config, Qwen2ForCausalLM
        if config["model_type"] == "bunny-llama":
            kind, decoder = LlamaConfig, LlamaForCausalLM
        keys = kind().to_dict().keys() & config.keys() - {"model_type", "architectures"}
        rope = {"rope_type": "default", "rope_theta": config["rope_theta"]}
        text = {key: config[key] for key in keys}
        self.decoder = decoder(kind(**text, rope_parameters=rope, attn_implementation="eager"))
        self.mm_projector = torch.nn.Sequential(
            torch.nn.Linear(width, hidden), torch.nn.GELU(), torch.nn.Linear(hidden, hidden)
        )

    def features(self, pixels):
        states = self.tower(pixels, output_hidden_states=True).hidden_states[-1]
        return self.mm_projector(states)[0]


def released_name(name):
    for old, new in (
        ("decoder.", ""),
        ("tower.", "model.vision_tower.vision_tower.vision_model."),
        ("mm_projector.", "model.mm_projector."),
    ):
        if name.startswith(old):
            return new + name.removeprefix(old).removeprefix("vision_model.")
    return name


def mlx_name(name):
    name = released_name(name)
    for old, new in (
        ("model.vision_tower.", "vision_tower."),
        ("model.mm_projector.0.", "mm_projector.linear_1."),
        ("model.mm_projector.2.", "mm_projector.linear_2."),
        ("model.", "language_model.model."),
        ("lm_head.", "language_model.model.lm_head."),  # as mlx-vlm's rule leaves it
    ):
        if name.startswith(old):
            return new + name.removeprefix(old)
    return name


class Reference(ComposedReference):
    def __init__(self, folder, model):
        super().__init__(folder, model)
        config = json.loads((folder / "config.json").read_text())
        self.pads = config.get("image_aspect_ratio") == "pad"

    def squared(self, picture):
        """As it is, or in the middle of a square of the mean colour."""
        if not self.pads:
            return picture
        side = max(picture.size)
        square = Image.new("RGB", (side, side), (127, 127, 127))
        square.paste(picture, ((side - picture.width) // 2, (side - picture.height) // 2))
        return square

    def prepare(self, messages, paths):
        content = [{**messages[0], "content": "<image>\n" * len(paths) + messages[0]["content"]}]
        pictures = []
        for path in paths:
            picture = self.squared(Image.open(path).convert("RGB"))
            values = np.array(picture.resize((SIZE, SIZE), Image.Resampling.BICUBIC), np.float32)
            scaled = (values / 255 - 0.5) / 0.5
            pictures.append((torch.tensor(scaled.transpose(2, 0, 1)[None]),))
        counts = [(SIZE // PATCH) ** 2] * len(pictures)
        # Their ids, -200, are no words; Fovea says 0.
        prompt, inputs = self.in_pieces(content, "<image>", counts, 0, starts_once=True)
        return content, prompt, {**inputs, "pictures": pictures}


def main(root):
    build = {"model": lambda config: Bunny(config).eval()}
    checkpoints = {
        "hf-bf16": Checkpoint(*configured(pads=True), released_name, **build),
        "mlx-4bit": Checkpoint(*configured(pads=False), mlx_name),
        "llama-bf16": Checkpoint(*configured_llama(), released_name, **build),
    }
    cases = usual_cases("hf-bf16", turns=False)
    cases |= {
        "tall_picture": cases["tall_picture"]._replace(checkpoint="mlx-4bit"),
        "two_pictures_4bit": Case("mlx-4bit", pictures=TWO),
        "two_pictures_llama": Case("llama-bf16", pictures=TWO),
    }
    write_family(Path(root) / "parity" / "llava_bunny", checkpoints, cases, SEED, Reference)


if __name__ == "__main__":
    main(sys.argv[1])

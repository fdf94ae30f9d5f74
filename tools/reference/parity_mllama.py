"""tests/fixtures/parity/mllama, by Hugging Face: mlx-vlm has no way to answer text alone.

transformers since its pull request 39643, and mlx-vlm, take the tower's intermediate features behind
the layers that config.json counts. Meta's code, transformers before, and vLLM take what stands before
them, which the checkpoints learnt: the script mends that.
"""

import sys
from pathlib import Path

import numpy as np
import torch
from transformers import MllamaForConditionalGeneration, MllamaProcessor
from transformers.modeling_outputs import BaseModelOutput
from transformers.models.mllama.modeling_mllama import MllamaVisionEncoder

from case_files import Case, two_turns, user
from sidecars import CLIP_MEAN, CLIP_STD, picture_settings, tokenizer_files
from tiny_tokenizers import byte_level_bpe
from torch_cases import (
    Checkpoint,
    TorchReference,
    built,
    random_values,
    recording,
    write_family,
)

SEED = 123
VOCABULARY = 280  # without the picture's token, which stands behind it
TILE = 12
EMBEDDING_LENGTH = 8
SPECIAL = [
    "<|begin_of_text|>",
    "<|start_header_id|>",
    "<|end_header_id|>",
    "<|eot_id|>",
    "<|finetune_right_pad_id|>",
    "<|image|>",
]

# The form of Llama 3: a header, two line breaks, the content, an end of turn.
TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}"
    "{{ '<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n' }}"
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}"
    "{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}{{ '<|image|>' }}{% else %}{{ part['text'] }}{% endif %}"
    "{% endfor %}{% endif %}{{ '<|eot_id|>' }}{% endfor %}"
    "{% if add_generation_prompt %}"
    "{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}"
)


def configured():
    tokenizer = byte_level_bpe(VOCABULARY + 1, specials=SPECIAL)
    number = tokenizer.token_to_id
    assert number("<|image|>") == VOCABULARY
    ends = [number("<|eot_id|>")]
    config = {
        "architectures": ["MllamaForConditionalGeneration"],
        "image_token_index": VOCABULARY,
        "model_type": "mllama",
        "text_config": {
            "model_type": "mllama_text_model",
            "bos_token_id": number("<|begin_of_text|>"),
            "cross_attention_layers": [1, 3],  # the last layer too
            "eos_token_id": ends,
            "hidden_act": "silu",
            "hidden_size": 32,
            "intermediate_size": 32,
            "max_position_embeddings": 512,
            "num_attention_heads": 4,
            "num_hidden_layers": 4,
            "num_key_value_heads": 1,
            "pad_token_id": number("<|finetune_right_pad_id|>"),
            "rms_norm_eps": 1e-05,
            "rope_scaling": {
                "factor": 8.0,
                "high_freq_factor": 4.0,
                "low_freq_factor": 1.0,
                "original_max_position_embeddings": 64,
                "rope_type": "llama3",
            },
            "rope_theta": 500000.0,
            "tie_word_embeddings": False,
            "vocab_size": VOCABULARY,
        },
        "vision_config": {
            "model_type": "mllama_vision_model",
            "attention_heads": 2,
            "hidden_act": "gelu",
            "hidden_size": 16,
            "image_size": TILE,
            "intermediate_layers_indices": [0, 2],
            "intermediate_size": 24,
            "max_num_tiles": 4,
            "norm_eps": 1e-05,
            "num_channels": 3,
            "num_global_layers": 2,
            "num_hidden_layers": 3,
            "patch_size": 4,
            "supported_aspect_ratios": [
                [1, 1], [1, 2], [1, 3], [1, 4], [2, 1], [2, 2], [3, 1], [4, 1]
            ],
            "vision_output_dim": 48,
        },
    }  # fmt: skip
    tokens = {
        "bos_token": "<|begin_of_text|>",
        "eos_token": "<|eot_id|>",
        "pad_token": "<|finetune_right_pad_id|>",
    }
    return config, {
        "generation_config.json": {
            "bos_token_id": number("<|begin_of_text|>"),
            "eos_token_id": ends,
            "pad_token_id": number("<|finetune_right_pad_id|>"),
        },
        "preprocessor_config.json": picture_settings(
            "MllamaImageProcessor",
            "MllamaProcessor",
            CLIP_MEAN,
            CLIP_STD,
            do_pad=True,
            max_image_tiles=4,
            resample=2,
            size={"height": TILE, "width": TILE},
        ),
        "processor_config.json": {"processor_class": "MllamaProcessor"},
        **tokenizer_files(tokenizer, tokens, TEMPLATE),
    }


def released_name(name):
    """From transformers 5 to the names of released checkpoints."""
    for new, old in (
        ("model.language_model.", "language_model.model."),
        ("model.", ""),
        ("lm_head.", "language_model.lm_head."),
    ):
        if name.startswith(new):
            return old + name.removeprefix(new)
    return name


def mlx_name(name):
    return released_name(name).replace("vision_model.", "vision_tower.", 1)


def with_open_gates(name, shape, seed):
    """Gates that let much through, tables of tiles that show, although their rows are long, and
    embeddings of one length, and looks at pictures that leave the token a say, so that an answer does
    not stay at one token."""
    values = random_values(name, shape, seed)
    if "embed_tokens" in name:
        return values / np.linalg.norm(values, axis=1, keepdims=True) * EMBEDDING_LENGTH
    if "lm_head" in name:
        values[VOCABULARY - len(SPECIAL) :] /= 8
        return values
    if "cross_attn.o_proj" in name:
        return values / 4  # what is much the same for all tokens
    if "gate" in name.rsplit(".", 1)[-1]:
        return values + np.float32(0.8)
    if "positional_embedding" in name and len(shape) == 2:
        return values * np.float32(0.5 / values.std())
    return values


def states_before_layers(self, hidden_states, attention_mask=None):
    states = []
    for layer in self.layers:
        states.append(hidden_states)
        hidden_states = layer(hidden_states, attention_mask=attention_mask)
    return BaseModelOutput(last_hidden_state=hidden_states, hidden_states=tuple(states))


class Mllama(TorchReference):
    processor_class = MllamaProcessor
    images_first = True
    strings_but_user = True

    def stages(self, inputs):
        inner = self.model.model
        ids = inputs["input_ids"]
        projector = inner.multi_modal_projector
        with recording(inner.language_model.layers) as hidden, recording([projector]) as states:
            with torch.no_grad():
                logits = self.model(**inputs, use_cache=False).logits[0, -1]
                embeds = inner.language_model.embed_tokens(ids)[0]
        length = ids.shape[1]
        found = {"inputs_embeds": embeds, "logits": logits}
        if states:
            found["image_features"] = states[0].reshape(-1, states[0].shape[-1])
            tiles = inputs["cross_attention_mask"][0].amax(0).bool()
            found["pixel_values"] = inputs["pixel_values"][0][tiles]
        found |= {f"hidden.{i}": value.reshape(length, -1) for i, value in enumerate(hidden)}
        found = {name: value.detach().numpy() for name, value in found.items()}
        found["input_ids"] = ids[0].numpy().astype(np.int32)
        found["position_ids"] = np.arange(length, dtype=np.int32)
        return found


def interleaved(text):
    """A picture, words, two pictures at once, and one for the last turn."""
    image, words = {"type": "image"}, {"type": "text", "text": "And these?"}
    return [
        {"role": "user", "content": [{"type": "text", "text": "Look:"}, image, words, image, image]},
        {"role": "assistant", "content": "A cat."},
        {"role": "user", "content": text},
    ]


def cases():
    one = {"square.png": (17, 14)}
    wide = {"wide.png": (90, 15)}
    tall = {"tall.png": (10, 44)}
    four = {"four.png": (40, 37)}
    return {
        "one_picture": Case("hf-bf16", user, one),
        "two_pictures": Case("hf-bf16", user, {"first.png": (11, 9), **four}),
        "turns": Case("hf-bf16", interleaved, {**tall, **one, **four, **wide}),
        "text_only": Case("hf-bf16"),
        "tiny_picture": Case("hf-bf16", user, {"tiny.png": (3, 2)}),
        "4bit_wide_picture": Case("mlx-4bit", user, wide),
        "4bit_two_turns": Case("mlx-4bit", two_turns, tall),
    }


def main(root):
    MllamaVisionEncoder.forward = states_before_layers
    config, sidecars = configured()
    model = lambda config: built(config, MllamaForConditionalGeneration)
    checkpoints = {
        "hf-bf16": Checkpoint(config, sidecars, released_name, model, values=with_open_gates),
        "mlx-4bit": Checkpoint(config, sidecars, mlx_name),
    }
    write_family(Path(root) / "parity" / "mllama", checkpoints, cases(), SEED, Mllama)


if __name__ == "__main__":
    main(sys.argv[1])

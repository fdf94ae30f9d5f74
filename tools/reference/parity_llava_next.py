"""tests/fixtures/parity/llava_next: CLIP tower and mistral or qwen2 decoder on tiles, by Hugging Face."""

import functools
import sys
from pathlib import Path

import torch
from transformers import LlavaNextForConditionalGeneration, LlavaNextProcessor
from transformers.models.llava_next.modeling_llava_next import image_size_to_num_patches

from case_files import ONE, TWO, Case, usual_cases
from sidecars import (
    CLIP_MEAN,
    CLIP_STD,
    LLAMA_TOKENS,
    QWEN_TOKENS,
    picture_settings,
    small,
    small_tower,
    tokenizer_files,
)
from tiny_tokenizers import byte_level_bpe, sentencepiece_bpe
from torch_cases import Checkpoint, TorchReference, built, write_family

SEED = 8

PINPOINTS = [[8, 16], [16, 8], [16, 16], [24, 8], [8, 24]]

# As llava-v1.6-mistral has it.
TEMPLATE = (
    "{% for message in messages %}"
    "{% if message['role'] == 'system' %}{{ '<<SYS>>\n' + message['content'][0]['text'] + '\n<</SYS>>\n\n' }}"
    "{% elif message['role'] == 'user' %}{{ '[INST] ' }}"
    "{% for content in message['content'] | selectattr('type', 'equalto', 'image') %}{{ '<image>\n' }}{% endfor %}"
    "{% for content in message['content'] | selectattr('type', 'equalto', 'text') %}{{ content['text'] }}{% endfor %}"
    "{{ ' [/INST]' }}"
    "{% else %}{{ ' ' + message['content'][0]['text'] + '</s> ' }}{% endif %}{% endfor %}"
)


# As llava-next-72b has it.
QWEN_TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' }}"
    "{% for content in message['content'] | selectattr('type', 'equalto', 'image') %}{{ '<image>\n' }}{% endfor %}"
    "{% for content in message['content'] | selectattr('type', 'equalto', 'text') %}{{ content['text'] }}{% endfor %}"
    "{{ '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


def configured(tokenizer, tokens, text, template):
    ids = {f"{part}_id": tokenizer.token_to_id(tokens[part]) for part in ("eos_token", "pad_token")}
    config = {
        "architectures": ["LlavaNextForConditionalGeneration"],
        "ignore_index": -100,
        "image_grid_pinpoints": PINPOINTS,
        "image_token_index": tokenizer.token_to_id("<image>"),
        "model_type": "llava_next",
        "projector_hidden_act": "gelu",
        "text_config": text,
        "tie_word_embeddings": False,
        "use_image_newline_parameter": True,
        "vision_config": small_tower("clip_vision_model", projection_dim=16),
        "vision_feature_layer": -2,
        "vision_feature_select_strategy": "default",
        "vocab_size": text["vocab_size"],
    }
    return config, {
        "generation_config.json": ids,
        "preprocessor_config.json": picture_settings(
            "LlavaNextImageProcessor",
            "LlavaNextProcessor",
            CLIP_MEAN,
            CLIP_STD,
            crop_size={"height": 8, "width": 8},
            do_center_crop=True,
            image_grid_pinpoints=PINPOINTS,
            size={"shortest_edge": 8},
        ),
        "processor_config.json": {
            "image_token": "<image>",
            "num_additional_image_tokens": 1,
            "patch_size": 2,
            "processor_class": "LlavaNextProcessor",
            "vision_feature_select_strategy": "default",
        },
        **tokenizer_files(tokenizer, tokens, template),
    }


def mistral():
    text = small(
        "mistral",
        architectures=["MistralForCausalLM"],
        head_dim=16,
        rms_norm_eps=1e-05,
        rope_theta=1000000.0,
        sliding_window=None,
        vocab_size=352,
    )
    tokenizer = sentencepiece_bpe(346, specials=["<image>", "<pad>"])
    return configured(tokenizer, LLAMA_TOKENS, text, TEMPLATE)


def qwen2():
    text = small(
        "qwen2", architectures=["Qwen2ForCausalLM"], use_sliding_window=False, vocab_size=288
    )
    tokenizer = byte_level_bpe(288, ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<image>"])
    return configured(tokenizer, QWEN_TOKENS, text, QWEN_TEMPLATE)


def mlx_name(name):
    """From transformers 5 to the names of released checkpoints, which MLX keeps."""
    for new, old in (
        ("model.language_model.", "language_model.model."),
        ("model.vision_tower.", "vision_tower.vision_model."),
        ("lm_head.", "language_model.lm_head."),
    ):
        if name.startswith(new):
            return old + name.removeprefix(new).removeprefix("vision_model.")
    return name.removeprefix("model.")


class LlavaNext(TorchReference):
    processor_class = LlavaNextProcessor

    def pixel_values(self, inputs):
        """Each picture's tiles without the padding of the batch."""
        counts = [
            image_size_to_num_patches(size, self.model.config.image_grid_pinpoints, 8)
            for size in inputs["image_sizes"]
        ]
        return torch.cat([tiles[:n] for tiles, n in zip(inputs["pixel_values"], counts)])

    def image_features(self, inputs):
        with torch.no_grad():
            answer = self.model.model.get_image_features(
                inputs["pixel_values"], inputs["image_sizes"]
            )
        return torch.cat(list(answer.pooler_output))


def main(root):
    build = functools.partial(built, model_class=LlavaNextForConditionalGeneration)
    checkpoints = {
        "hf-bf16": Checkpoint(*mistral(), mlx_name, build),
        "mlx-4bit": Checkpoint(*mistral(), mlx_name),
        "qwen2-bf16": Checkpoint(*qwen2(), mlx_name, build),
    }
    cases = {
        **usual_cases("hf-bf16", wide=(95, 14), tall=(16, 75)),
        "two_pictures_4bit": Case("mlx-4bit", pictures=TWO),
        "one_picture_qwen2": Case("qwen2-bf16", pictures=ONE),
    }
    write_family(Path(root) / "parity" / "llava_next", checkpoints, cases, SEED, LlavaNext)


if __name__ == "__main__":
    main(sys.argv[1])

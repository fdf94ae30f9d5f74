"""tests/fixtures/parity/pixtral and mistral3: Pixtral's tower and a mistral decoder, by Hugging Face."""

import functools
import sys
from pathlib import Path

import torch
from tokenizers import processors
from transformers import (
    LlavaForConditionalGeneration,
    Mistral3ForConditionalGeneration,
    PixtralProcessor,
)

from case_files import ONE, TWO, Case, two_turns, usual_cases
from sidecars import (
    CLIP_MEAN,
    CLIP_STD,
    LLAMA_TOKENS,
    picture_settings,
    small,
    small_tower,
    tokenizer_files,
)
from tiny_tokenizers import byte_level_bpe
from torch_cases import Checkpoint, TorchReference, built, write_family

SEED = 14
PATCH = 2
SPECIALS = ["<unk>", "<s>", "</s>", "[INST]", "[/INST]", "[IMG]", "<pad>", "[IMG_BREAK]"]
SPECIALS += ["[IMG_END]"]
# As pixtral-12b has it: only users' content may be a list.
TEMPLATE = """{%- if messages[0]["role"] == "system" %}
    {%- set system_message = messages[0]["content"] %}
    {%- set loop_messages = messages[1:] %}
{%- else %}
    {%- set loop_messages = messages %}
{%- endif %}
{{- bos_token }}
{%- for message in loop_messages %}
    {%- if message["role"] == "user" %}
        {{- "[INST]" }}
        {%- if loop.last and system_message is defined %}
            {{- system_message + "\\n\\n" }}
        {%- endif %}
        {%- for chunk in message["content"] %}
            {%- if chunk["type"] == "text" %}
                {{- chunk["text"] }}
            {%- elif chunk["type"] == "image" %}
                {{- "[IMG]" }}
            {%- endif %}
        {%- endfor %}
        {{- "[/INST]" }}
    {%- else %}
        {{- " " + message["content"] + eos_token }}
    {%- endif %}
{%- endfor %}"""
TEXT = small(
    "mistral",
    architectures=["MistralForCausalLM"],
    head_dim=24,
    max_position_embeddings=1024,
    rms_norm_eps=1e-05,
    rope_theta=1000000000.0,
    sliding_window=None,
    vocab_size=296,
)
VISION = small_tower(
    "pixtral", head_dim=8, hidden_act="silu", image_size=32, patch_size=PATCH, rope_theta=10000.0
)


# As Ministral 3 has it, in a context that a picture's prompt outgrows.
MINISTRAL = small(
    "ministral3",
    architectures=["Ministral3ForCausalLM"],
    head_dim=24,
    max_position_embeddings=512,
    rms_norm_eps=1e-05,
    rope_parameters={
        "beta_fast": 32.0,
        "beta_slow": 1.0,
        "factor": 16.0,
        "llama_4_scaling_beta": 0.1,
        "mscale": 1.0,
        "mscale_all_dim": 1.0,
        "original_max_position_embeddings": 32,
        "rope_theta": 1000.0,
        "rope_type": "yarn",
        "type": "yarn",
    },
    sliding_window=None,
    vocab_size=296,
)


def configured(merge, text=TEXT):
    tokenizer = byte_level_bpe(296, SPECIALS)
    start = tokenizer.token_to_id("<s>")
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A <s> $B", special_tokens=[("<s>", start)]
    )
    config = {
        "architectures": ["LlavaForConditionalGeneration"],
        "ignore_index": -100,
        "image_seq_length": 1,
        "image_token_index": tokenizer.token_to_id("[IMG]"),
        "model_type": "llava",
        "projector_hidden_act": "gelu",
        "text_config": text,
        "tie_word_embeddings": False,
        "vision_config": VISION,
        "vision_feature_layer": -1,
        "vision_feature_select_strategy": "full",
    }
    if merge > 1:
        config |= {"architectures": ["Mistral3ForConditionalGeneration"], "model_type": "mistral3"}
        config |= {"multimodal_projector_bias": False, "spatial_merge_size": merge}
        del config["vision_feature_select_strategy"], config["image_seq_length"]
    return config, {
        "generation_config.json": {
            "bos_token_id": start,
            "eos_token_id": tokenizer.token_to_id("</s>"),
            "pad_token_id": tokenizer.token_to_id("<pad>"),
        },
        "preprocessor_config.json": picture_settings(
            "PixtralImageProcessor",
            "PixtralProcessor",
            CLIP_MEAN,
            CLIP_STD,
            patch_size={"height": PATCH, "width": PATCH},
            size={"longest_edge": 16},
        ),
        "processor_config.json": {
            "image_break_token": "[IMG_BREAK]",
            "image_end_token": "[IMG_END]",
            "image_token": "[IMG]",
            "patch_size": PATCH,
            "processor_class": "PixtralProcessor",
            **({"spatial_merge_size": merge} if merge > 1 else {}),
        },
        **tokenizer_files(tokenizer, LLAMA_TOKENS, TEMPLATE),
    }


def released_name(name):
    for new, old in (
        ("model.language_model.", "language_model.model."),
        ("lm_head.", "language_model.lm_head."),
    ):
        if name.startswith(new):
            return old + name.removeprefix(new)
    return name.removeprefix("model.")


def mlx_name(name):
    return released_name(name).replace("vision_tower.", "vision_tower.vision_model.")


class Pixtral(TorchReference):
    processor_class = PixtralProcessor
    images_first = True
    strings_but_user = True

    def pixel_values(self, inputs):
        """Patches of each picture without the padding of the batch, row by row."""
        rows = []
        for picture, size in zip(inputs["pixel_values"], inputs["image_sizes"].tolist()):
            h, w = size[0] // PATCH, size[1] // PATCH
            grid = picture[:, : size[0], : size[1]].reshape(3, h, PATCH, w, PATCH)
            rows.append(grid.permute(1, 3, 0, 2, 4).reshape(h * w, -1))
        return torch.cat(rows)

    def image_features(self, inputs):
        with torch.no_grad():
            answer = self.model.model.get_image_features(
                inputs["pixel_values"], image_sizes=inputs["image_sizes"]
            )
        return torch.cat(list(answer.pooler_output))


def main(root):
    cases = {
        **usual_cases("hf-bf16", wide=(95, 14), tall=(8, 75)),
        "two_pictures_4bit": Case("mlx-4bit", pictures=TWO),
    }
    # Hugging Face's mistral3 stumbles over a picture of one patch.
    larger = {name: case for name, case in cases.items() if name != "tiny_picture"}
    larger["two_turns_ministral3"] = Case("ministral3-bf16", two_turns, ONE)
    larger["two_pictures_ministral3"] = Case("ministral3-bf16", pictures=TWO)
    kinds = {
        "pixtral": (1, LlavaForConditionalGeneration, cases),
        "mistral3": (2, Mistral3ForConditionalGeneration, larger),
    }
    for family, (merge, model_class, own_cases) in kinds.items():
        config, sidecars = configured(merge)
        build = functools.partial(built, model_class=model_class)
        checkpoints = {
            "hf-bf16": Checkpoint(config, sidecars, released_name, build),
            "mlx-4bit": Checkpoint({**config, "model_type": family}, sidecars, mlx_name),
        }
        if family == "mistral3":
            own = configured(merge, MINISTRAL)
            checkpoints["ministral3-bf16"] = Checkpoint(*own, released_name, build)
        write_family(Path(root) / "parity" / family, checkpoints, own_cases, SEED, Pixtral)


if __name__ == "__main__":
    main(sys.argv[1])

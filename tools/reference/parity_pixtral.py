"""tests/fixtures/parity/pixtral and mistral3: Pixtral's tower and a mistral decoder, by Hugging Face."""

import json
import shutil
import sys
from pathlib import Path

import torch
from tokenizers import processors
from transformers import (
    LlavaForConditionalGeneration,
    Mistral3ForConditionalGeneration,
    PixtralProcessor,
)

from case_files import test_picture, two_turns, user
from tiny_tokenizers import byte_level_bpe
from torch_cases import (
    TorchReference,
    built,
    quiet,
    write_case,
    write_hugging_face,
    write_mlx_4bit,
)

SEED = 12
PATCH = 4
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
TEXT = {
    "architectures": ["MistralForCausalLM"],
    "model_type": "mistral",
    "head_dim": 32,
    "hidden_size": 64,
    "intermediate_size": 64,
    "max_position_embeddings": 1024,
    "num_attention_heads": 4,
    "num_hidden_layers": 2,
    "num_key_value_heads": 2,
    "rms_norm_eps": 1e-05,
    "rope_theta": 1000000000.0,
    "sliding_window": None,
    "vocab_size": 320,
}
VISION = {
    "model_type": "pixtral",
    "head_dim": 16,
    "hidden_act": "silu",
    "hidden_size": 32,
    "image_size": 64,
    "intermediate_size": 48,
    "num_attention_heads": 2,
    "num_hidden_layers": 2,
    "patch_size": PATCH,
    "rope_theta": 10000.0,
}


def configured(merge):
    tokenizer = byte_level_bpe(300, SPECIALS)
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
        "text_config": TEXT,
        "tie_word_embeddings": False,
        "vision_config": VISION,
        "vision_feature_layer": -1,
        "vision_feature_select_strategy": "full",
    }
    if merge > 1:
        config |= {"architectures": ["Mistral3ForConditionalGeneration"], "model_type": "mistral3"}
        config |= {"multimodal_projector_bias": False, "spatial_merge_size": merge}
        del config["vision_feature_select_strategy"], config["image_seq_length"]
    tokens = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"}
    sidecars = {
        "generation_config.json": {
            "bos_token_id": start,
            "eos_token_id": tokenizer.token_to_id("</s>"),
            "pad_token_id": tokenizer.token_to_id("<pad>"),
        },
        "preprocessor_config.json": {
            "do_convert_rgb": True,
            "do_normalize": True,
            "do_rescale": True,
            "do_resize": True,
            "image_mean": [0.48145466, 0.4578275, 0.40821073],
            "image_processor_type": "PixtralImageProcessor",
            "image_std": [0.26862954, 0.26130258, 0.27577711],
            "patch_size": {"height": PATCH, "width": PATCH},
            "processor_class": "PixtralProcessor",
            "resample": 3,
            "rescale_factor": 0.00392156862745098,
            "size": {"longest_edge": 32},
        },
        "processor_config.json": {
            "image_break_token": "[IMG_BREAK]",
            "image_end_token": "[IMG_END]",
            "image_token": "[IMG]",
            "patch_size": PATCH,
            "processor_class": "PixtralProcessor",
            **({"spatial_merge_size": merge} if merge > 1 else {}),
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


def cases():
    """family -> name -> (checkpoint, messages for a question, pictures)"""
    one = {"picture.png": test_picture(45, 37, 1)}
    two = {"first.png": test_picture(30, 50, 2), "second.png": test_picture(64, 20, 3)}
    return {
        "pixtral": {
            "one_picture": ("hf-bf16", user, one),
            "two_pictures": ("hf-bf16", user, two),
            "tiny_picture": ("hf-bf16", user, {"picture.png": test_picture(1, 1, 4)}),
            "wide_picture": ("hf-bf16", user, {"picture.png": test_picture(190, 27, 5)}),
            "tall_picture": ("hf-bf16", user, {"picture.png": test_picture(15, 150, 6)}),
            "text_only": ("hf-bf16", user, {}),
            "two_turns": ("hf-bf16", two_turns, one),
            "two_pictures_4bit": ("mlx-4bit", user, two),
        },
        "mistral3": {
            "one_picture": ("hf-bf16", user, {"picture.png": test_picture(45, 37, 8)}),
            "two_pictures": ("hf-bf16", user, two),
            "tall_picture": ("hf-bf16", user, {"picture.png": test_picture(15, 150, 5)}),
            "two_pictures_4bit": ("mlx-4bit", user, two),
        },
    }


def main(root):
    quiet()
    kinds = {
        "pixtral": (1, LlavaForConditionalGeneration),
        "mistral3": (2, Mistral3ForConditionalGeneration),
    }
    for family, (merge, model_class) in kinds.items():
        folder = Path(root) / "parity" / family
        shutil.rmtree(folder, ignore_errors=True)
        checkpoints = folder / "checkpoints"
        config, sidecars = configured(merge)
        model = built(config, model_class)
        write_hugging_face(checkpoints / "hf-bf16", config, sidecars, model, released_name, SEED)
        for name, (checkpoint, ask, pictures) in cases()[family].items():
            if checkpoint == "mlx-4bit":  # last: the model takes the rounded values
                converted = {**config, "model_type": family}
                write_mlx_4bit(checkpoints / checkpoint, converted, sidecars, model, mlx_name)
            reference = Pixtral(checkpoints / checkpoint, model)
            write_case(folder, checkpoint, name, ask, pictures, SEED, reference)


if __name__ == "__main__":
    main(sys.argv[1])

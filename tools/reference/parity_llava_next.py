"""tests/fixtures/parity/llava_next: CLIP tower and mistral decoder on tiles, by Hugging Face."""

import json
import shutil
import sys
from pathlib import Path

import torch
from transformers import LlavaNextForConditionalGeneration, LlavaNextProcessor
from transformers.models.llava_next.modeling_llava_next import image_size_to_num_patches

from case_files import test_picture, two_turns, user
from tiny_tokenizers import sentencepiece_bpe
from torch_cases import (
    TorchReference,
    built,
    quiet,
    write_case,
    write_hugging_face,
    write_mlx_4bit,
)

SEED = 7

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


def configured():
    tokenizer = sentencepiece_bpe(368, specials=["<image>", "<pad>"])
    config = {
        "architectures": ["LlavaNextForConditionalGeneration"],
        "ignore_index": -100,
        "image_grid_pinpoints": [[16, 32], [32, 16], [32, 32], [48, 16], [16, 48]],
        "image_token_index": tokenizer.token_to_id("<image>"),
        "model_type": "llava_next",
        "projector_hidden_act": "gelu",
        "text_config": {
            "architectures": ["MistralForCausalLM"],
            "model_type": "mistral",
            "hidden_size": 64,
            "intermediate_size": 64,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "head_dim": 16,
            "rms_norm_eps": 1e-05,
            "rope_theta": 1000000.0,
            "sliding_window": None,
            "max_position_embeddings": 512,
            "vocab_size": 384,
        },
        "tie_word_embeddings": False,
        "use_image_newline_parameter": True,
        "vision_config": {
            "model_type": "clip_vision_model",
            "hidden_size": 32,
            "intermediate_size": 48,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "image_size": 16,
            "patch_size": 4,
            "projection_dim": 32,
            "vocab_size": 384,
        },
        "vision_feature_layer": -2,
        "vision_feature_select_strategy": "default",
        "vocab_size": 384,
    }
    tokens = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"}
    sidecars = {
        "generation_config.json": {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 367},
        "preprocessor_config.json": {
            "crop_size": {"height": 16, "width": 16},
            "do_center_crop": True,
            "do_convert_rgb": True,
            "do_normalize": True,
            "do_rescale": True,
            "do_resize": True,
            "image_grid_pinpoints": config["image_grid_pinpoints"],
            "image_mean": [0.48145466, 0.4578275, 0.40821073],
            "image_processor_type": "LlavaNextImageProcessor",
            "image_std": [0.26862954, 0.26130258, 0.27577711],
            "processor_class": "LlavaNextProcessor",
            "resample": 3,
            "rescale_factor": 0.00392156862745098,
            "size": {"shortest_edge": 16},
        },
        "processor_config.json": {
            "image_token": "<image>",
            "num_additional_image_tokens": 1,
            "patch_size": 4,
            "processor_class": "LlavaNextProcessor",
            "vision_feature_select_strategy": "default",
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
            image_size_to_num_patches(size, self.model.config.image_grid_pinpoints, 16)
            for size in inputs["image_sizes"]
        ]
        return torch.cat([tiles[:n] for tiles, n in zip(inputs["pixel_values"], counts)])

    def image_features(self, inputs):
        with torch.no_grad():
            answer = self.model.model.get_image_features(
                inputs["pixel_values"], inputs["image_sizes"]
            )
        return torch.cat(list(answer.pooler_output))


def cases():
    """name -> (checkpoint, messages for a question, pictures)"""
    one = {"picture.png": test_picture(45, 37, 1)}
    two = {"first.png": test_picture(30, 50, 2), "second.png": test_picture(64, 20, 3)}
    return {
        "one_picture": ("hf-bf16", user, one),
        "two_pictures": ("hf-bf16", user, two),
        "tiny_picture": ("hf-bf16", user, {"picture.png": test_picture(1, 1, 4)}),
        "wide_picture": ("hf-bf16", user, {"picture.png": test_picture(190, 27, 5)}),
        "tall_picture": ("hf-bf16", user, {"picture.png": test_picture(31, 150, 6)}),
        "text_only": ("hf-bf16", user, {}),
        "two_turns": ("hf-bf16", two_turns, one),
        "two_pictures_4bit": ("mlx-4bit", user, two),
    }


def main(root):
    quiet()
    folder = Path(root) / "parity" / "llava_next"
    shutil.rmtree(folder, ignore_errors=True)
    checkpoints = folder / "checkpoints"
    config, sidecars = configured()
    model = built(config, LlavaNextForConditionalGeneration)
    write_hugging_face(checkpoints / "hf-bf16", config, sidecars, model, mlx_name, SEED)
    for name, (checkpoint, ask, pictures) in cases().items():
        if checkpoint == "mlx-4bit":  # last: the model takes the rounded values
            write_mlx_4bit(checkpoints / checkpoint, config, sidecars, model, mlx_name)
        reference = LlavaNext(checkpoints / checkpoint, model)
        write_case(folder, checkpoint, name, ask, pictures, SEED, reference)


if __name__ == "__main__":
    main(sys.argv[1])

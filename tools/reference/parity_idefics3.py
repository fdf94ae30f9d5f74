"""tests/fixtures/parity/idefics3: Idefics3 and SmolVLM, which differ in their names alone."""

import json
import shutil
import sys
from pathlib import Path

from parity_cases import test_picture, two_turns, user, write_case
from tiny_checkpoint import write_hugging_face, write_mlx
from tiny_tokenizers import byte_level_bpe

SEED = 47
VOCABULARY = 304
TILE = 16
TOKENS = 4  # of a tile: 4 x 4 patches, 2 x 2 of them together

SPECIAL = [
    "<|endoftext|>",
    "<|im_start|>",
    "<end_of_utterance>",
    "<fake_token_around_image>",
    "<image>",
    "<global-img>",
    *[f"<row_{row}_col_{column}>" for row in (1, 2, 3) for column in (1, 2, 3)],
]
TEMPLATE = (Path(__file__).parent / "templates" / "smolvlm.jinja").read_text()


def sidecars(tokenizer, family):
    number = tokenizer.token_to_id
    processor = {"idefics3": "Idefics3", "smolvlm": "SmolVLM"}[family]
    tokens = {
        "bos_token": "<|im_start|>",
        "eos_token": "<end_of_utterance>",
        "pad_token": "<|im_start|>",
        "unk_token": "<|endoftext|>",
    }
    config = {
        "architectures": [f"{processor}ForConditionalGeneration"],
        "model_type": family,
        "image_token_id": number("<image>"),
        "pad_token_id": number("<|im_start|>"),
        "scale_factor": 2,
        "tie_word_embeddings": False,
        "torch_dtype": "float32",
        "use_cache": True,
        "text_config": {
            "model_type": "llama",
            "bos_token_id": number("<|im_start|>"),
            "eos_token_id": number("<end_of_utterance>"),
            "pad_token_id": number("<|im_start|>"),
            "head_dim": 16,
            "hidden_size": 64,
            "intermediate_size": 64,
            "max_position_embeddings": 512,
            "num_attention_heads": 4,
            "num_hidden_layers": 2,
            "num_key_value_heads": 1,
            "rms_norm_eps": 1e-05,
            "rope_interleaved": False,
            "rope_scaling": None,
            "rope_theta": 100000,
            "vocab_size": VOCABULARY,
        },
        "vision_config": {
            "model_type": {"idefics3": "idefics3", "smolvlm": "smolvlm_vision"}[family],
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_attention_heads": 2,
            "num_hidden_layers": 2,
            "image_size": TILE,
            "patch_size": TILE // 4,
            # mlx-vlm's last norm takes 1e-5 whatever the config says.
            "layer_norm_eps": 1e-05,
            "max_image_size": {"longest_edge": TILE},
            "size": {"longest_edge": 3 * TILE},
        },
        "vocab_size": VOCABULARY,
    }
    return config, {
        "generation_config.json": {
            "bos_token_id": number("<|im_start|>"),
            "eos_token_id": number("<end_of_utterance>"),
            "pad_token_id": number("<|im_start|>"),
        },
        "preprocessor_config.json": {
            "do_convert_rgb": True,
            "do_image_splitting": True,
            "do_normalize": True,
            "do_pad": True,
            "do_rescale": True,
            "do_resize": True,
            "image_mean": [0.5, 0.5, 0.5],
            "image_processor_type": f"{processor}ImageProcessor",
            "image_std": [0.5, 0.5, 0.5],
            "max_image_size": {"longest_edge": TILE},
            "processor_class": f"{processor}Processor",
            "resample": 1,
            "rescale_factor": 0.00392156862745098,
            "size": {"longest_edge": 3 * TILE},
        },
        "processor_config.json": {
            "image_seq_len": TOKENS,
            "processor_class": f"{processor}Processor",
        },
        "special_tokens_map.json": tokens,
        "tokenizer.json": json.loads(tokenizer.to_str()),
        "tokenizer_config.json": {
            **tokens,
            "clean_up_tokenization_spaces": False,
            "model_max_length": 512,
            "tokenizer_class": "PreTrainedTokenizerFast",
            "chat_template": TEMPLATE,
        },
    }


def to_hf_name(name):
    if name.startswith("language_model.lm_head."):
        return name.removeprefix("language_model.")
    if name.startswith("language_model."):
        return name.replace("language_model.", "model.text_model.", 1)
    return f"model.{name}"


def whole(files):
    """The same checkpoint without tiles."""
    settings = {**files["preprocessor_config.json"], "do_image_splitting": False}
    return {**files, "preprocessor_config.json": settings}


def cases():
    """name -> (checkpoint, messages for a question, pictures)"""
    one = {"picture.png": test_picture(45, 37, 1)}
    two = {"first.png": test_picture(30, 50, 2), "second.png": test_picture(64, 20, 3)}
    return {
        "one_picture": ("hf-f32", user, one),
        "two_pictures": ("hf-f32", user, two),
        "tiny_picture": ("hf-f32", user, {"picture.png": test_picture(1, 1, 4)}),
        "wide_picture": ("hf-f32", user, {"picture.png": test_picture(190, 9, 5)}),
        "tall_picture": ("hf-f32", user, {"picture.png": test_picture(7, 150, 6)}),
        "text_only": ("hf-f32", user, {}),
        "two_turns": ("hf-f32", two_turns, one),
        "smolvlm_whole_pictures_4bit": ("smolvlm-mlx-4bit", user, two),
    }


def main(root):
    folder = Path(root) / "parity" / "idefics3"
    shutil.rmtree(folder, ignore_errors=True)
    checkpoints = folder / "checkpoints"
    scratch = checkpoints / "scratch"
    tokenizer = byte_level_bpe(VOCABULARY - 8, SPECIAL)
    config, files = sidecars(tokenizer, "idefics3")
    write_hugging_face(checkpoints / "hf-f32", config, files, to_hf_name, SEED)
    config, files = sidecars(tokenizer, "smolvlm")
    write_hugging_face(scratch, config, whole(files), to_hf_name, SEED)
    write_mlx(
        scratch,
        checkpoints / "smolvlm-mlx-4bit",
        dtype="bfloat16",
        quantize=True,
        q_group_size=64,
        q_bits=4,
    )
    shutil.rmtree(scratch)
    full = ("one_picture", "smolvlm_whole_pictures_4bit")
    for name, (checkpoint, ask, pictures) in cases().items():
        brief = name not in full
        write_case(folder, checkpoint, name, ask, pictures, SEED, brief, enough=0.2)


if __name__ == "__main__":
    main(sys.argv[1])

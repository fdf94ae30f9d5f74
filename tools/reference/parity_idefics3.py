"""tests/fixtures/parity/idefics3: Idefics3 and SmolVLM, which differ in their names alone."""

import shutil
import sys
import tempfile
from pathlib import Path

from case_files import TWO, Case, usual_cases
from parity_cases import write_cases, write_mlx_4bit
from sidecars import HALF, picture_settings, small, small_tower, tokenizer_files
from tiny_checkpoint import write_hugging_face
from tiny_tokenizers import byte_level_bpe

SEED = 48
VOCABULARY = 296
TILE = 8
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
    ids = {
        "bos_token_id": number("<|im_start|>"),
        "eos_token_id": number("<end_of_utterance>"),
        "pad_token_id": number("<|im_start|>"),
    }
    vision = small_tower(
        {"idefics3": "idefics3", "smolvlm": "smolvlm_vision"}[family],
        image_size=TILE,
        patch_size=TILE // 4,
        layer_norm_eps=1e-05,  # mlx-vlm's last norm takes that whatever the config says
        max_image_size={"longest_edge": TILE},
        size={"longest_edge": 3 * TILE},
    )
    text = small(
        "llama",
        **ids,
        head_dim=16,
        rms_norm_eps=1e-05,
        rope_interleaved=False,
        rope_scaling=None,
        rope_theta=100000,
        vocab_size=VOCABULARY,
    )
    config = {
        "architectures": [f"{processor}ForConditionalGeneration"],
        "model_type": family,
        "image_token_id": number("<image>"),
        "pad_token_id": number("<|im_start|>"),
        "scale_factor": 2,
        "tie_word_embeddings": False,
        "torch_dtype": "float32",
        "use_cache": True,
        "text_config": text,
        "vision_config": vision,
        "vocab_size": VOCABULARY,
    }
    return config, {
        "generation_config.json": ids,
        "preprocessor_config.json": picture_settings(
            f"{processor}ImageProcessor",
            f"{processor}Processor",
            HALF,
            HALF,
            do_image_splitting=True,
            do_pad=True,
            max_image_size={"longest_edge": TILE},
            resample=1,
            size={"longest_edge": 3 * TILE},
        ),
        "processor_config.json": {
            "image_seq_len": TOKENS,
            "processor_class": f"{processor}Processor",
        },
        **tokenizer_files(tokenizer, tokens, TEMPLATE),
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


def main(root):
    folder = Path(root) / "parity" / "idefics3"
    shutil.rmtree(folder, ignore_errors=True)
    checkpoints = folder / "checkpoints"
    tokenizer = byte_level_bpe(VOCABULARY, SPECIAL)
    config, files = sidecars(tokenizer, "idefics3")
    write_hugging_face(checkpoints / "hf-f32", config, files, to_hf_name, SEED)
    config, files = sidecars(tokenizer, "smolvlm")
    with tempfile.TemporaryDirectory() as scratch:
        write_hugging_face(Path(scratch) / "hf", config, whole(files), to_hf_name, SEED)
        write_mlx_4bit(Path(scratch) / "hf", checkpoints / "smolvlm-mlx-4bit")
    smolvlm = {"smolvlm_whole_pictures_4bit": Case("smolvlm-mlx-4bit", pictures=TWO)}
    write_cases(folder, {**usual_cases("hf-f32"), **smolvlm}, SEED)


if __name__ == "__main__":
    main(sys.argv[1])

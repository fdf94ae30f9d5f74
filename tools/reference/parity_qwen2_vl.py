"""tests/fixtures/parity/qwen2_vl, and number_types: Qwen2-VL in more types of numbers."""

import shutil
import sys
import tempfile
from pathlib import Path

from case_files import ONE, Case, usual_cases
from parity_cases import write_cases, write_mlx_4bit
from sidecars import CLIP_MEAN, CLIP_STD, QWEN_TOKENS, small, tokenizer_files
from tiny_checkpoint import write_hugging_face, write_mlx
from tiny_tokenizers import byte_level_bpe

SEED = 20
PATCH = 4  # mlx-vlm takes convolutions of up to 3 pixels for ones in its own order

CHAT_TEMPLATE = (
    "{% set image_count = namespace(value=0) %}{% for message in messages %}"
    "{% if loop.first and message['role'] != 'system' %}"
    "<|im_start|>system\nBe kind.<|im_end|>\n{% endif %}"
    "<|im_start|>{{ message['role'] }}\n"
    "{% if message['content'] is string %}{{ message['content'] }}<|im_end|>\n{% else %}"
    "{% for content in message['content'] %}"
    "{% if content['type'] == 'image' or 'image' in content or 'image_url' in content %}"
    "{% set image_count.value = image_count.value + 1 %}"
    "{% if add_vision_id %}Picture {{ image_count.value }}: {% endif %}"
    "<|vision_start|><|image_pad|><|vision_end|>"
    "{% elif 'text' in content %}{{ content['text'] }}{% endif %}{% endfor %}<|im_end|>\n{% endif %}"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def special_ids(tokenizer):
    """What the qwens' configs say of the tokenizer."""
    number = tokenizer.token_to_id
    return {
        "vision_start_token_id": number("<|vision_start|>"),
        "vision_end_token_id": number("<|vision_end|>"),
        "image_token_id": number("<|image_pad|>"),
        "video_token_id": number("<|video_pad|>"),
    }


def sidecars(tokenizer):
    number = tokenizer.token_to_id
    ends = {
        "bos_token_id": number("<|endoftext|>"),
        "eos_token_id": number("<|im_end|>"),
    }
    config = {
        **small("qwen2_vl"),
        **special_ids(tokenizer),
        **ends,
        "architectures": ["Qwen2VLForConditionalGeneration"],
        "attention_dropout": 0.0,
        "vision_token_id": number("<|vision_pad|>"),
        "hidden_act": "silu",
        "initializer_range": 0.02,
        "max_window_layers": 2,
        "rms_norm_eps": 1e-06,
        "rope_theta": 1000000.0,
        "sliding_window": 512,
        "tie_word_embeddings": True,
        "torch_dtype": "float32",
        "transformers_version": "4.41.2",
        "use_cache": True,
        "use_sliding_window": False,
        "vision_config": {
            "depth": 2,
            "embed_dim": 16,
            "mlp_ratio": 2,
            "num_heads": 2,
            "in_chans": 3,
            "hidden_size": 32,
            "patch_size": PATCH,
            "spatial_merge_size": 2,
            "spatial_patch_size": PATCH,
            "temporal_patch_size": 2,
            "model_type": "qwen2_vl",
        },
        "rope_scaling": {"type": "mrope", "mrope_section": [2, 3, 3]},
        "vocab_size": 288,
    }
    return config, {
        "generation_config.json": {
            "bos_token_id": config["bos_token_id"],
            "pad_token_id": number("<|endoftext|>"),
            "do_sample": True,
            "temperature": 0.01,
            "top_k": 1,
            "top_p": 0.001,
            "eos_token_id": [number("<|im_end|>"), number("<|endoftext|>")],
        },
        "preprocessor_config.json": picture_settings(
            "Qwen2VL", min_pixels=192, max_pixels=576, image_mean=CLIP_MEAN, image_std=CLIP_STD
        ),
        **tokenizer_files(
            tokenizer,
            {**QWEN_TOKENS, "bos_token": None, "unk_token": None},
            CHAT_TEMPLATE,
            add_prefix_space=False,
            split_special_tokens=False,
            errors="replace",
        ),
    }


def picture_settings(family, kind="Qwen2VLImageProcessor", **settings):
    """preprocessor_config.json of the qwens, as short as theirs."""
    return {
        "patch_size": PATCH,
        "temporal_patch_size": 2,
        "merge_size": 2,
        "image_processor_type": kind,
        "processor_class": f"{family}Processor",
        **settings,
    }


def to_hf_name(name):
    if name.startswith("vision_tower."):
        return name.replace("vision_tower.", "visual.", 1)
    return name.replace("language_model.", "", 1)


def cases():
    return {
        **usual_cases("hf-f32"),
        "one_picture_4bit": Case("mlx-4bit", pictures=ONE),
    }


def cases_of_types():
    return {
        "one_picture_bf16": Case("mlx-bf16", pictures=ONE),
        "one_picture_float_modes": Case("mlx-float-modes", pictures=ONE),
        "one_picture_untied": Case("mlx-f16-untied", pictures=ONE),
    }


def float_mode(path, module):
    """Every mode of floats in one checkpoint; the vision tower stays plain."""
    if "vision_tower" in path or not hasattr(module, "to_quantized"):
        return False
    if "embed_tokens" in path or "mlp" in path:
        return {"group_size": 32, "bits": 8, "mode": "mxfp8"}
    if "layers.1." in path:
        return {"group_size": 16, "bits": 4, "mode": "nvfp4"}
    return {"group_size": 32, "bits": 4, "mode": "mxfp4"}


def write_number_types(folder, source, config, files):
    shutil.rmtree(folder, ignore_errors=True)
    checkpoints = folder / "checkpoints"
    write_mlx(source, checkpoints / "mlx-bf16", dtype="bfloat16")
    write_mlx(
        source,
        checkpoints / "mlx-float-modes",
        dtype="bfloat16",
        quantize=True,
        q_group_size=32,
        q_bits=4,
        q_mode="mxfp4",
        quant_predicate=float_mode,
    )
    config = {**config, "tie_word_embeddings": False, "num_hidden_layers": 1}
    config["vision_config"] = {**config["vision_config"], "depth": 1}
    with tempfile.TemporaryDirectory() as scratch:
        write_hugging_face(Path(scratch) / "hf", config, files, to_hf_name, SEED)
        write_mlx(Path(scratch) / "hf", checkpoints / "mlx-f16-untied", dtype="float16")
    write_cases(folder, cases_of_types(), SEED)


def main(root):
    folder = Path(root) / "parity" / "qwen2_vl"
    shutil.rmtree(folder, ignore_errors=True)
    config, files = sidecars(byte_level_bpe(288))
    checkpoints = folder / "checkpoints"
    source = checkpoints / "hf-f32"
    write_hugging_face(source, config, files, to_hf_name, SEED, shards=2, bf16_values=True)
    write_mlx_4bit(source, checkpoints / "mlx-4bit")
    write_cases(folder, cases(), SEED)
    write_number_types(folder.parent / "number_types", source, config, files)


if __name__ == "__main__":
    main(sys.argv[1])

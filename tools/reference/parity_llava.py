"""tests/fixtures/parity/llava: CLIP tower and llama decoder; SigLIP tower and qwen2 decoder. And
mixed_bits: a wider CLIP and llama, since mlx-vlm's mixed recipes know groups of 64 alone."""

import shutil
import sys
import tempfile
from pathlib import Path

import numpy as np

from case_files import ONE, Case, usual_cases
from parity_cases import write_cases
from sidecars import (
    CLIP_MEAN,
    CLIP_STD,
    HALF,
    LLAMA_TOKENS,
    QWEN_TOKENS,
    picture_settings,
    small,
    small_tower,
    tokenizer_files,
)
from tiny_checkpoint import write_hugging_face, write_mlx
from tiny_tokenizers import byte_level_bpe, sentencepiece_bpe

SEED = 32

CLIP_TEMPLATE = (
    "{% for message in messages %}"
    "{% if message['role'] == 'system' %}{{ message['content'][0]['text'] if message['content'] is not "
    "string else message['content'] }} {% else %}"
    "{{ message['role'].upper() + ': ' }}"
    "{% if message['content'] is string %}{{ message['content'] + ' ' }}{% else %}"
    "{# pictures first #}{% for content in message['content'] | selectattr('type', 'equalto', 'image') %}"
    "{{ '<image>\n' }}{% endfor %}"
    "{% for content in message['content'] | selectattr('type', 'equalto', 'text') %}"
    "{{ content['text'] + ' ' }}{% endfor %}{% endif %}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ 'ASSISTANT:' }}{% endif %}"
)
SIGLIP_TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' }}"
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}"
    "{% for content in message['content'] %}{% if content['type'] == 'image' %}{{ '<image>' }}"
    "{% else %}{{ content['text'] }}{% endif %}{% endfor %}{% endif %}{{ '<|im_end|>' + '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


def configured(tokenizer, text, vision, layer, strategy, tied):
    return {
        "architectures": ["LlavaForConditionalGeneration"],
        "ignore_index": -100,
        "image_token_index": tokenizer.token_to_id("<image>"),
        "model_type": "llava",
        "projector_hidden_act": "gelu",
        "text_config": {**text, "torch_dtype": "float32"},
        "tie_word_embeddings": tied,
        "torch_dtype": "float32",
        "vision_config": {**vision, "hidden_act": "quick_gelu"},
        "vision_feature_layer": layer,
        "vision_feature_select_strategy": strategy,
        "vocab_size": text["vocab_size"],
    }


def sidecars(config, image_processor):
    strategy = config["vision_feature_select_strategy"]
    return {
        "generation_config.json": {
            "_from_model_config": True,
            "bos_token_id": 1,
            "max_length": 512,
            "eos_token_id": config["text_config"]["eos_token_id"],
        },
        "preprocessor_config.json": image_processor,
        "processor_config.json": {
            "image_token": "<image>",
            "num_additional_image_tokens": 1 if strategy == "default" else 0,
            "patch_size": 2,
            "processor_class": "LlavaProcessor",
            "vision_feature_select_strategy": strategy,
        },
    }


def clip_llama(**sizes):
    tokenizer = sentencepiece_bpe(350, specials=["<image>", "<pad>"])
    text = small(
        "llama",
        architectures=["LlamaForCausalLM"],
        **sizes,
        rms_norm_eps=1e-05,
        bos_token_id=1,
        eos_token_id=2,
        vocab_size=352,
    )
    vision = small_tower("clip_vision_model", projection_dim=16, layer_norm_eps=1e-05)
    config = configured(tokenizer, text, vision, -2, "default", False)
    config["pad_token_id"] = tokenizer.token_to_id("<pad>")
    image_processor = picture_settings(
        "CLIPImageProcessor",
        "LlavaProcessor",
        CLIP_MEAN,
        CLIP_STD,
        crop_size={"height": 8, "width": 8},
        do_center_crop=True,
        size={"shortest_edge": 8},
    )
    files = tokenizer_files(tokenizer, LLAMA_TOKENS, CLIP_TEMPLATE)
    return config, {**sidecars(config, image_processor), **files}


def siglip_qwen2():
    specials = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<image>"]
    tokenizer = byte_level_bpe(288, specials)
    text = small(
        "qwen2",
        architectures=["Qwen2ForCausalLM"],
        rms_norm_eps=1e-06,
        rope_theta=1000000.0,
        rope_scaling={"type": "linear", "factor": 2.0},
        tie_word_embeddings=True,
        vocab_size=288,
        use_sliding_window=False,
        bos_token_id=tokenizer.token_to_id("<|endoftext|>"),
        eos_token_id=tokenizer.token_to_id("<|im_end|>"),
    )
    vision = small_tower("siglip_vision_model", layer_norm_eps=1e-06, vision_use_head=False)
    config = configured(tokenizer, text, vision, -1, "full", True)
    config["pad_token_id"] = tokenizer.token_to_id("<|endoftext|>")
    image_processor = picture_settings(
        "SiglipImageProcessor", "LlavaProcessor", HALF, HALF, size={"height": 8, "width": 8}
    )
    files = tokenizer_files(tokenizer, QWEN_TOKENS, SIGLIP_TEMPLATE)
    return config, {**sidecars(config, image_processor), **files}


def buffers():
    """Buffers that older checkpoints carry and a loader must pass over."""
    return {
        "vision_tower.vision_model.embeddings.position_ids": np.arange(17, dtype=np.int64)[None],
        "language_model.model.layers.0.self_attn.rotary_emb.inv_freq": np.ones(8, np.float32),
    }


def cases():
    """Of the folder llava."""
    clip, siglip = usual_cases("clip-llama-hf-f32"), usual_cases("siglip-qwen2-mlx-f32")
    told = ("one_picture", "two_pictures", "tall_picture")
    return {
        **{f"clip_{name}": case for name, case in clip.items()},
        **{f"siglip_{name}": siglip[name] for name in told},
    }


def halved(tensors):
    return {name: value.astype(np.float16) for name, value in tensors.items()}


def write_mixed_bits(folder):
    shutil.rmtree(folder, ignore_errors=True)
    source = folder / "checkpoints" / "hf-f16"
    config, files = clip_llama(hidden_size=64)
    write_hugging_face(source, config, files, str, SEED, released=halved)
    write_mlx(
        source,
        folder / "checkpoints" / "mlx-4bit-8bit",
        dtype="bfloat16",
        quantize=True,
        q_group_size=64,
        quant_predicate="mixed_4_8",
    )
    wide = {
        "one_picture_4bit_8bit": Case("mlx-4bit-8bit", pictures=ONE),
        "text_only_f16": Case("hf-f16"),
    }
    write_cases(folder, wide, SEED)


def main(root):
    folder = Path(root) / "parity" / "llava"
    shutil.rmtree(folder, ignore_errors=True)
    checkpoints = folder / "checkpoints"
    config, files = clip_llama(intermediate_size=32, num_key_value_heads=2)
    source = checkpoints / "clip-llama-hf-f32"
    write_hugging_face(source, config, files, str, SEED, extra=buffers())
    config, files = siglip_qwen2()
    with tempfile.TemporaryDirectory() as scratch:
        write_hugging_face(Path(scratch) / "hf", config, files, str, SEED)
        write_mlx(Path(scratch) / "hf", checkpoints / "siglip-qwen2-mlx-f32", dtype="float32")
    write_cases(folder, cases(), SEED)
    write_mixed_bits(folder.parent / "mixed_bits")


if __name__ == "__main__":
    main(sys.argv[1])

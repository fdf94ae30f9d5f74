"""The small files beside the weights, as far as families have them alike."""

import json

CLIP_MEAN = [0.48145466, 0.4578275, 0.40821073]
CLIP_STD = [0.26862954, 0.26130258, 0.27577711]
HALF = [0.5, 0.5, 0.5]
LLAMA_TOKENS = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"}
QWEN_TOKENS = {"eos_token": "<|im_end|>", "pad_token": "<|endoftext|>"}


def tokenizer_files(tokenizer, tokens, template=None, **settings):
    """`tokens` are the special ones by their part, `tokenizer` a Tokenizer or its JSON."""
    content = tokenizer if isinstance(tokenizer, dict) else json.loads(tokenizer.to_str())
    return {
        "special_tokens_map.json": tokens,
        "tokenizer.json": content,
        "tokenizer_config.json": {
            **tokens,
            "clean_up_tokenization_spaces": False,
            "model_max_length": 512,
            "tokenizer_class": "PreTrainedTokenizerFast",
            **({"chat_template": template} if template else {}),
            **settings,
        },
    }


def picture_settings(kind, processor, mean, std, **settings):
    """preprocessor_config.json of the classes `kind` and `processor`."""
    return {
        "do_convert_rgb": True,
        "do_normalize": True,
        "do_rescale": True,
        "do_resize": True,
        "image_mean": mean,
        "image_processor_type": kind,
        "image_std": std,
        "processor_class": processor,
        "resample": 3,
        "rescale_factor": 0.00392156862745098,
        **settings,
    }


def small(model_type, **keys):
    """The text part of a config.json: two layers of a decoder."""
    return {
        "model_type": model_type,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "max_position_embeddings": 512,
        **keys,
    }


def small_tower(model_type, **keys):
    """A vision_config: two layers over 4 x 4 patches."""
    return {
        "model_type": model_type,
        "hidden_size": 16,
        "intermediate_size": 24,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "image_size": 8,
        "patch_size": 2,
        **keys,
    }

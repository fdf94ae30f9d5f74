"""The tokenizer of fovea-tiny: byte-level BPE whose vocabulary is a short list of whole words.

Every known word is one token (`ignore_merges`), everything else falls to single bytes, so a word
in quotes is read and written letter by letter. A point "(23, 40)" is two tokens: " (23," " 40)".
"""
import json
from pathlib import Path

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers

import vocabulary as words

SPECIAL = [
    "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>",
    "<|vision_pad|>", "<|image_pad|>", "<|video_pad|>",
]
PIECES = r" ?\(\d{1,2},| \d{1,2}\)| ?\d| ?[A-Za-z]+|[\s\S]"

# Pictures of a message come before its text, whatever order the request lists them in: the model
# was trained on that order only.
CHAT_TEMPLATE = (
    "{%- for message in messages -%}"
    "{{- '<|im_start|>' + message['role'] + '\\n' -}}"
    "{%- if message['content'] is string -%}"
    "{{- message['content'] -}}"
    "{%- else -%}"
    "{%- for part in message['content'] -%}"
    "{%- if part['type'] == 'image' or part['type'] == 'image_url' or 'image' in part -%}"
    "{{- '<|vision_start|><|image_pad|><|vision_end|>' -}}"
    "{%- elif part['type'] == 'video' or 'video' in part -%}"
    "{{- '<|vision_start|><|video_pad|><|vision_end|>' -}}"
    "{%- endif -%}"
    "{%- endfor -%}"
    "{%- for part in message['content'] -%}"
    "{%- if part['type'] == 'text' -%}{{- part['text'] -}}{%- endif -%}"
    "{%- endfor -%}"
    "{%- endif -%}"
    "{{- '<|im_end|>\\n' -}}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\\n' -}}{%- endif -%}"
)


def byte_alphabet() -> list[str]:
    """The 256 printable stand-ins of byte-level BPE, in byte order."""
    shown = [*range(33, 127), *range(161, 173), *range(174, 256)]
    hidden = [b for b in range(256) if b not in shown]
    stand_in = {b: chr(b) for b in shown} | {b: chr(256 + i) for i, b in enumerate(hidden)}
    return [stand_in[b] for b in range(256)]


def word_list() -> list[str]:
    names = words.THINGS + [words.plural(n) for n in words.THINGS] + words.COLOUR_NAMES
    listed = [" " + n for n in names + words.BUTTONS + words.FRAME_WORDS]
    listed += [w for w in words.FRAME_WORDS] + [c.capitalize() for c in words.COLOUR_NAMES]
    listed += ["user", "assistant", "system", " system"]
    listed += [f" {d}" for d in range(10)]
    listed += [f" ({n}," for n in range(100)] + [f" {n})" for n in range(100)]
    return list(dict.fromkeys(w for w in listed if len(w) > 1))


def build() -> Tokenizer:
    vocab = {t: i for i, t in enumerate(byte_alphabet())}
    for word in word_list():
        vocab.setdefault(word.replace(" ", "Ġ"), len(vocab))
    tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=[], ignore_merges=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(PIECES), "isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
    ])
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(t, special=True, normalized=False) for t in SPECIAL])
    return tokenizer


def padded_size(tokenizer: Tokenizer) -> int:
    """Rows of the embedding: a multiple of 64, so that any group size of quantisation fits."""
    return -(-tokenizer.get_vocab_size() // 64) * 64


def save(tokenizer: Tokenizer, folder: Path) -> None:
    tokenizer.save(str(folder / "tokenizer.json"))
    named = {"eos_token": "<|im_end|>", "pad_token": "<|endoftext|>"}
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": 2048,
        "clean_up_tokenization_spaces": False,
        "additional_special_tokens": SPECIAL[1:],
        "added_tokens_decoder": {
            str(tokenizer.token_to_id(t)): {
                "content": t, "lstrip": False, "normalized": False, "rstrip": False,
                "single_word": False, "special": True,
            } for t in SPECIAL
        },
        "chat_template": CHAT_TEMPLATE,
        **named,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=2) + "\n")
    special = {**named, "additional_special_tokens": SPECIAL[1:]}
    (folder / "special_tokens_map.json").write_text(json.dumps(special, indent=2) + "\n")
    (folder / "chat_template.json").write_text(
        json.dumps({"chat_template": CHAT_TEMPLATE}, indent=2) + "\n")

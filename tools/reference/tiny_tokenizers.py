"""Small tokenizers, trained on the few lines below, in the layouts of real checkpoints."""

import json
import math
from collections import Counter

from tokenizers import AddedToken, Regex, Tokenizer
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors, trainers

CORPUS = [
    "The picture shows a red circle to the left of a blue square.",
    "What is this? Describe the picture in one sentence.",
    "There are three cats, two dogs and one bird on the table.",
    "You are a helpful assistant. Answer with the colour and the number.",
    "the cat sat on the mat and the dog sat by the door",
    "Where is the green button? It is at the top right of the window.",
    "Ein kleines Bild mit einem großen grünen Haus über dem Fluss.",
    "Une image très claire où l'été est déjà passé, ça c'est sûr.",
    "Быстрая коричневая лиса прыгает через ленивую собаку.",
    "这是一张图片。图片里有三只猫。",
    "これは写真です。猫がいます。",
    "1 2 3 4 5 6 7 8 9 10 11 12 100 2024",
    "def area(w, h):\n    return w * h\n",
    "don't can't I'm we're they'll user assistant system",
]

QWEN2_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
QWEN2_SPECIAL = [
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|vision_pad|>",
    "<|image_pad|>",
    "<|video_pad|>",
]


def special(text):
    return AddedToken(text, special=True, normalized=False)


def byte_level_bpe(vocabulary, specials=QWEN2_SPECIAL):
    """As Qwen2 ships it: NFC, GPT-4 style split, byte-level BPE, special tokens last."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(QWEN2_SPLIT), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary - len(specials),
        show_progress=False,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    tokenizer.add_special_tokens([special(text) for text in specials])
    return tokenizer


def sentencepiece_bpe(vocabulary, specials=()):
    """As Llama 2 ships it: Prepend and Replace normaliser, byte fallback, <s> put in front."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")]
    )
    tokenizer.decoder = decoders.Sequence(
        [
            decoders.Replace("\u2581", " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(" ", 1, 0),
        ]
    )
    head = ["<unk>", "<s>", "</s>"]
    byte_tokens = [f"<0x{value:02X}>" for value in range(256)]
    latin = sorted(set("".join(CORPUS[:6] + CORPUS[11:]).replace(" ", "")) | {"\u2581"})
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary - len(specials),
        show_progress=False,
        initial_alphabet=latin,
        limit_alphabet=len(latin),
        special_tokens=head + byte_tokens,
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Split("\u2581", "merged_with_next")
    tokenizer.train_from_iterator([text.replace("\n", " ") for text in CORPUS[:6]], trainer)
    tokenizer.pre_tokenizer = None
    return plain_byte_tokens(tokenizer, head, specials)


def plain_byte_tokens(tokenizer, head, specials):
    """The trainer marks byte tokens as special; in a real file they are ordinary vocabulary."""
    content = json.loads(tokenizer.to_str())
    content["added_tokens"] = [t for t in content["added_tokens"] if t["content"] in head]
    tokenizer = Tokenizer.from_str(json.dumps(content))
    tokenizer.add_special_tokens([special(text) for text in specials])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A",
        pair="<s> $A <s> $B",
        special_tokens=[("<s>", tokenizer.token_to_id("<s>"))],
    )
    return tokenizer


def unigram(vocabulary):
    """A Unigram model with a Metaspace decoder, which has no streaming form of its own."""
    tokenizer = Tokenizer(models.Unigram(unigram_pieces(vocabulary), unk_id=2))
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    tokenizer.add_special_tokens([special("<pad>"), special("</s>"), special("<unk>")])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="$A </s>",
        pair="$A </s> $B </s>",
        special_tokens=[("</s>", tokenizer.token_to_id("</s>"))],
    )
    return tokenizer


def unigram_pieces(count):
    """All characters, and the pieces of words that occur most: the trainer's own choice varies."""
    words = [f"\u2581{word}" for text in CORPUS for word in text.split()]
    pieces = Counter(
        word[start:end]
        for word in words
        for start in range(len(word))
        for end in range(start + 1, min(start + 7, len(word)) + 1)
    )
    characters = [piece for piece in pieces if len(piece) == 1]
    longer = [piece for piece in pieces if len(piece) > 1]
    longer.sort(key=lambda piece: (-pieces[piece] * len(piece), piece))
    chosen = sorted(characters) + longer[: count - len(characters) - 3]
    total = sum(pieces.values())
    scores = [(piece, round(math.log(pieces[piece] / total), 4)) for piece in chosen]
    return [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0)] + scores

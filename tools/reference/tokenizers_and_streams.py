"""tests/fixtures/tokenizers: ids, decoded text, and what may be shown after each streamed id."""

import shutil
import sys
from pathlib import Path

from rows import made_with, write_rows
from tiny_tokenizers import QWEN2_SPECIAL, byte_level_bpe, sentencepiece_bpe, unigram

TEXTS = [
    "",
    " ",
    "  ",
    "   ",
    "\n",
    "\n\n",
    " \n ",
    "\t",
    "\t\tx",
    "\r\n",
    "a",
    " a",
    "a ",
    " a ",
    "  a  b   c    ",
    "Hello",
    "hello world",
    "Hello, world!",
    "HELLO WORLD",
    "What is this?",
    "The picture shows a red circle to the left of a blue square.",
    "don't can't I'm we're they'll you've he'd DON'T",
    "it's   the cat's",
    "0",
    "7",
    "42",
    "1234567890",
    "3.14159",
    "1,000,000",
    "2024-11-23T10:00:00Z",
    "x1y2z3",
    "def f(x):\n    return x ** 2\n",
    '{"key": [1, 2.5, null]}',
    '<tag attr="v">text</tag>',
    "a/b\\c|d",
    "!!!???...",
    "C'est l'été, où ça?",
    "Größe, Straße, Übermut",
    "naïve façade",
    "cafe\u0301",
    "ﬁne ﬂow",
    "Ａｂｃ １２３",
    "Быстрая лиса",
    "Γειά σου Κόσμε",
    "שלום עולם",
    "مرحبا بالعالم",
    "नमस्ते दुनिया",
    "สวัสดีชาวโลก",
    "这是一张图片。",
    "これは写真です。",
    "한국어 문장입니다.",
    "图片 and слово mixed 混合",
    "😀",
    "😀😃😄",
    "👍🏽",
    "👨‍👩‍👧‍👦",
    "🏳️‍🌈",
    "🇩🇪🇫🇷",
    "1️⃣2️⃣",
    "a😀b",
    "é😀漢",
    "\u00a0nbsp\u00a0",
    "zero\u200bwidth",
    "\ufeffbom",
    "right\u200fto\u200eleft",
    "x\u0301\u0302\u0303",
    "tab\tnew\nline\rreturn",
    "trailing spaces   \n\n\nand lines\n",
    "\u2581under\u2581",
    "\u0000nul",
    "𝕳𝖊𝖑𝖑𝖔",
    "𠜎𠜱",
    "ab" * 40,
    "the the the the the",
]
STREAMED = [
    "Hello, world!",
    " a  b ",
    "The cat sat.\n\nThe dog.",
    "été 漢字 😀!",
    "👨‍👩‍👧‍👦 and 🏳️‍🌈",
    "这是图片。",
    "мир 🇩🇪",
    "don't\tstop",
    "line\nline 2\n",
    "é",
    "😀",
    "a😀b😀c",
]


def special_texts(specials):
    """Special tokens at the edges, in the middle, doubled, and almost spelled."""
    first, last = specials[0], specials[-1]
    return [
        first,
        f"{first}{first}",
        f"a{first}b",
        f" {first} b",
        f"{first}user\nHi{last}\n",
        first[:-1],
        first.upper(),
        f"{first}😀{last}",
    ]


def encodings(tokenizer, texts):
    cases = []
    for text in texts:
        ids = tokenizer.encode(text).ids
        bare = tokenizer.encode(text, add_special_tokens=False).ids
        cases.append(
            {
                "text": text,
                "ids": ids,
                "ids_without_special_tokens": bare,
                "decoded": tokenizer.decode(ids, skip_special_tokens=False),
                "decoded_skipping_special_tokens": tokenizer.decode(ids, skip_special_tokens=True),
            }
        )
    return cases


def stream(tokenizer, ids):
    """After each id, the whole characters it completes; then what is left at the end."""
    whole = tokenizer.decode(ids, skip_special_tokens=False)
    shown, segments = "", []
    for count in range(1, len(ids) + 1):
        text = tokenizer.decode(ids[:count], skip_special_tokens=False).rstrip("\ufffd")
        if not whole.startswith(text):
            return None
        text = max(shown, text, key=len)
        segments.append(text[len(shown) :])
        shown = text
    return {"ids": ids, "text": whole, "segments": segments, "at_end": whole[len(shown) :]}


def streams(tokenizer, texts):
    cases = [
        stream(tokenizer, tokenizer.encode(text, add_special_tokens=False).ids) for text in texts
    ]
    cut = [case["ids"][:-1] for case in cases if len(case["ids"]) > 1 and not case["segments"][-2]]
    # Byte fallback takes whole characters back when a broken one follows: no stream can know.
    return cases + [case for case in (stream(tokenizer, ids) for ids in cut) if case]


def write(folder, tokenizer, specials):
    folder.mkdir(parents=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    content = {
        "made_with": made_with("tokenizers"),
        "encodings": encodings(tokenizer, TEXTS + special_texts(specials)),
        "streams": streams(tokenizer, STREAMED + [f"a {specials[-1]} b"]),
    }
    write_rows(folder / "cases.json", content)
    print(f"{folder.name}: {len(content['encodings'])} texts, {len(content['streams'])} streams")


def main(root):
    folder = Path(root) / "tokenizers"
    shutil.rmtree(folder, ignore_errors=True)
    write(folder / "byte_level", byte_level_bpe(640), QWEN2_SPECIAL)
    write(
        folder / "sentencepiece",
        sentencepiece_bpe(640, specials=["<image>", "<pad>"]),
        ["<s>", "<image>", "</s>"],
    )
    write(folder / "unigram", unigram(400), ["<pad>", "</s>"])


if __name__ == "__main__":
    main(sys.argv[1])

"""What every parity case has, whichever library answers: pictures, questions, and the files.

A reference is an object with
    prepare(messages, paths) -> (messages in the family's form, rendered prompt, *inputs)
    stages(*inputs) -> arrays by stage name
    greedy(*inputs, chunk) -> (tokens, narrowest win in standard deviations of the logits)
    greedy_tokens(prompt, paths, inputs) -> the tokens, after trying every way to make them
and tokenizer, dtype and packages.
"""

import numpy as np
from PIL import Image, ImageDraw
from safetensors.numpy import save_file

from rows import made_with, write_json

GREEDY_TOKENS = 16
DIFFERENT_TOKENS = 4  # at least, of them
QUESTIONS = [
    "What is this?",
    "How many?",
    "Where is the cat?",
    "Describe the picture.",
    "Which colour is it?",
    "Is there a dog?",
    "What is left of the circle?",
    "Read the text.",
    "猫はどこ?",
    "Где дом?",
    "Où est l'été?",
    "List every thing you see.",
    "What number is on the table?",
    "Why?",
    "Is it a bird or a cat?",
    "Point at the green button.",
    "Who sat on the mat?",
    "Say one word.",
    "Tell me about the window.",
    "Count the birds: 1 2 3",
    "What is at the top right?",
    "Hello!",
    "Answer with the colour and the number.",
    "What do the two show?",
]
# Cases about pictures: hidden states are left out.
ODD_SIZES = ("tiny_picture", "wide_picture", "tall_picture")


def test_picture(width, height, seed):
    """A gradient, a disc and a little noise."""
    rng = np.random.default_rng(seed)
    down, across = np.mgrid[0:height, 0:width]
    pixels = np.stack(
        [
            across * 255 / max(width - 1, 1),
            down * 255 / max(height - 1, 1),
            np.full((height, width), rng.integers(40, 215)),
        ],
        -1,
    )
    image = Image.fromarray(
        (pixels + rng.integers(-12, 13, pixels.shape)).clip(0, 255).astype(np.uint8)
    )
    colour = tuple(int(value) for value in rng.integers(0, 256, 3))
    ImageDraw.Draw(image).ellipse(
        [width * 0.2, height * 0.3, width * 0.7, height * 0.8], fill=colour
    )
    return image


def user(text):
    return [{"role": "user", "content": text}]


def two_turns(text):
    return [
        {"role": "system", "content": "Answer with one word."},
        {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "What is this?"}]},
        {"role": "assistant", "content": "A cat."},
        {"role": "user", "content": text},
    ]


def relative(value, expected):
    return float(np.abs(value - expected).max() / max(np.abs(expected).max(), 1e-30))


def noise(found, exact):
    """How far the reference's lower precision is from fp32 arithmetic, as shares of the stages."""
    return {name: round(relative(found[name], exact[name]), 4) for name in exact if name in found}


def is_float(value):
    return value.dtype == np.float32


def best_question(references, ask, paths, enough):
    """The question whose greedy answer is the most clear-cut, or the first that wins by `enough`, so
    that rounding cannot turn it."""
    best = (0.03, None)
    tokenizer = references[0].tokenizer
    plain_ids = set(range(len(tokenizer))) - set(tokenizer.added_tokens_decoder)
    pairs = [f"{first} {second}" for first in QUESTIONS[:12] for second in QUESTIONS[:12]]
    for question in QUESTIONS if len(references) == 1 else pairs:
        messages = ask(question)
        inputs = references[0].prepare(messages, paths)[2:]
        answers = [reference.greedy(*inputs, chunk=2048) for reference in references]
        tokens, margin = answers[0][0], min(margin for _, margin in answers)
        agreed = all(other == tokens for other, _ in answers) and len(tokens) == GREEDY_TOKENS
        varied = len(set(tokens)) >= DIFFERENT_TOKENS and set(tokens) <= plain_ids
        if agreed and varied and margin > best[0]:
            best = (margin, messages)
        if best[0] >= enough:
            break
    if best[1] is None:
        raise SystemExit("no question gives a clear greedy answer: change the seed")
    return best


def write_case(
    folder, checkpoint, name, ask, pictures, seed, references, brief=False, enough=np.inf
):
    """cases/<name>: the pictures, request.json, stages.safetensors and manifest.json.

    The first of `references` has the checkpoint's precision; the last, where there are two or where
    it says so by `exact`, has the same weights in fp32 arithmetic. A brief case has no hidden states.
    """
    case = folder / "cases" / name
    case.mkdir(parents=True)
    for file, picture in pictures.items():
        picture.save(case / file, optimize=True)
    paths = [case / file for file in pictures]
    reference, precise = references[0], references[-1]
    margin, messages = best_question(references, ask, paths, enough)
    request = {
        "checkpoint": f"../../checkpoints/{checkpoint}",
        "messages": messages,
        "images": list(pictures),
        "max_tokens": GREEDY_TOKENS,
        "temperature": 0,
    }
    write_json(case / "request.json", request)
    built, prompt, *inputs = reference.prepare(messages, paths)
    found = reference.stages(*inputs)
    found["greedy"] = reference.greedy_tokens(prompt, paths, inputs)
    exact = {}
    if precise is not reference or precise.exact:
        exact = {key: value for key, value in precise.stages(*inputs).items() if is_float(value)}
        exact.pop("pixel_values", None)
    if precise is reference:
        found = {key: value for key, value in found.items() if key not in exact}
    if exact or brief or name.endswith(ODD_SIZES):
        found = without_hidden(found)
    if brief:
        exact = without_hidden(exact)
    stored = {**found, **{f"exact.{key}": value for key, value in exact.items()}}
    save_file(
        {key: np.ascontiguousarray(value) for key, value in stored.items()},
        case / "stages.safetensors",
    )
    text = reference.tokenizer.decode(found["greedy"].tolist())
    manifest = {
        "checkpoint": checkpoint,
        "dtype": reference.dtype,
        "seed": seed,
        "made_with": made_with(*reference.packages),
        "messages": built,
        "prompt": prompt,
        "prompt_tokens": int(found["input_ids"].size),
        "text": text,
        "smallest_greedy_margin": round(margin, 3),
        "shapes": {key: list(value.shape) for key, value in found.items()},
        "reference_noise": noise(found, exact),
    }
    write_json(case / "manifest.json", manifest)
    print(f"{folder.name} {name}: margin {margin:.3f}, {text!r}", flush=True)


def without_hidden(stages):
    return {key: stages[key] for key in stages if not key.startswith(("hidden", "inputs_embeds"))}

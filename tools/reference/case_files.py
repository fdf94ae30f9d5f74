"""What every parity case has, whichever library answers: pictures, questions, and the files.

A reference is an object with
    prepare(messages, paths) -> (messages in the family's form, rendered prompt, *inputs)
    stages(*inputs) -> arrays by stage name
    greedy(*inputs, chunk, least) -> (tokens, narrowest win in standard deviations of the logits);
        it may stop at a win below `least`
    greedy_tokens(prompt, paths, inputs) -> the tokens, after trying every way to make them
and tokenizer, dtype and packages.
"""

from typing import Callable, NamedTuple

import numpy as np
from PIL import Image, ImageDraw
from safetensors.numpy import save_file

from rows import made_with, write_json

GREEDY_TOKENS = 16
DIFFERENT_TOKENS = 4  # at least, of them
MARGIN_MIN = 0.15  # a case with a narrower win is not written: rounding must not turn a token
CLEAR = 0.2  # what the search is content with
DRAWINGS = 16  # of a case's pictures, tried at most
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


class Case(NamedTuple):
    """`ask` makes messages of a question; `pictures` are sizes, whose noise and colours the search
    draws, or images as they are."""

    checkpoint: str
    ask: Callable = user
    pictures: dict = {}


ONE = {"picture.png": (45, 37)}
TWO = {"first.png": (30, 50), "second.png": (64, 20)}


def picture_of(width, height):
    return {"picture.png": (width, height)}


def usual_cases(checkpoint, wide=(190, 9), tall=(7, 150), turns=True):
    """What every family is asked: name -> Case."""
    cases = {
        "one_picture": Case(checkpoint, user, ONE),
        "two_pictures": Case(checkpoint, user, TWO),
        "tiny_picture": Case(checkpoint, user, picture_of(1, 1)),
        "wide_picture": Case(checkpoint, user, picture_of(*wide)),
        "tall_picture": Case(checkpoint, user, picture_of(*tall)),
        "text_only": Case(checkpoint, user),
        "two_turns": Case(checkpoint, two_turns, ONE),
    }
    return cases if turns else {name: cases[name] for name in cases if name != "two_turns"}


def relative(value, expected):
    return float(np.abs(value - expected).max() / max(np.abs(expected).max(), 1e-30))


def noise(found, exact):
    """How far the reference's lower precision is from fp32 arithmetic, as shares of the stages."""
    return {name: round(relative(found[name], exact[name]), 4) for name in exact if name in found}


def drawn(pictures, seed):
    """file -> image: those that are sizes are drawn."""
    return {
        file: test_picture(*picture, [seed, index]) if isinstance(picture, tuple) else picture
        for index, (file, picture) in enumerate(pictures.items())
    }


def longer_questions():
    return [f"{first} {second}" for first in QUESTIONS for second in QUESTIONS]


def answered(references, inputs, least):
    """The narrowest of the greedy answers' wins, or 0 where they are no good."""
    tokenizer = references[0].tokenizer
    plain_ids = set(range(len(tokenizer))) - set(tokenizer.added_tokens_decoder)
    first, narrowest = None, np.inf
    for reference in references:
        tokens, margin = reference.greedy(*inputs, chunk=2048, least=least)
        first, narrowest = first or tokens, min(narrowest, margin)
        whole = len(tokens) == GREEDY_TOKENS and set(tokens) <= plain_ids
        if margin < least or tokens != first or not whole or len(set(tokens)) < DIFFERENT_TOKENS:
            return 0
    return narrowest


def best_question(references, ask, paths, enough=CLEAR, questions=QUESTIONS, best=(0, None)):
    """(margin, messages) of the question whose greedy answer is the most clear-cut, or the first that
    wins by `enough`; `best` where none is better and none has MARGIN_MIN."""
    for question in questions:
        messages = ask(question)
        inputs = references[0].prepare(messages, paths)[2:]
        margin = answered(references, inputs, max(best[0], MARGIN_MIN))
        if margin > best[0]:
            best = (margin, messages)
        if margin >= enough:
            break
    return best


def clear_case(references, ask, pictures, case):
    """(margin, seed of the pictures, messages): the clearest answer over pictures that are drawn in
    turn or, where nothing can be drawn, over more questions. The pictures lie in the folder `case`."""
    paths = [case / file for file in pictures]
    fixed = not any(isinstance(picture, tuple) for picture in pictures.values())
    questions = QUESTIONS + longer_questions() if fixed else QUESTIONS
    best, chosen = (0, None), 0
    for seed in range(1 if fixed else DRAWINGS):
        save(drawn(pictures, seed), case)
        found = best_question(references, ask, paths, CLEAR, questions, best)
        if found[0] > best[0]:
            best, chosen = found, seed
        if best[0] >= CLEAR:
            break
    margin, messages = best
    if margin < MARGIN_MIN:
        raise SystemExit(f"{case}: no greedy answer has a margin of {MARGIN_MIN}: change the seed")
    save(drawn(pictures, chosen), case)
    return margin, chosen, messages


def save(images, folder):
    for file, image in images.items():
        image.save(folder / file, optimize=True)


def stored_stages(found, exact, brief):
    """What a test compares: of stages in two precisions the exact one. A brief case has no hidden
    states."""
    exact = {name: value for name, value in exact.items() if value.dtype == np.float32}
    exact.pop("pixel_values", None)
    found = {name: value for name, value in found.items() if name not in exact}
    stored = {**found, **{f"exact.{name}": value for name, value in exact.items()}}
    left_out = ("hidden", "inputs_embeds", "exact.hidden", "exact.inputs_embeds")
    return {
        name: np.ascontiguousarray(value)
        for name, value in stored.items()
        if not (brief and name.startswith(left_out))
    }


def write_case(folder, checkpoint, name, ask, pictures, seed, references, brief=False):
    """cases/<name>: the pictures, request.json, stages.safetensors and manifest.json.

    The first of `references` has the checkpoint's precision; the last, where there are two or where
    it says so by `exact`, has the same weights in fp32 arithmetic.
    """
    case = folder / "cases" / name
    case.mkdir(parents=True)
    reference, precise = references[0], references[-1]
    margin, picture_seed, messages = clear_case(references, ask, pictures, case)
    paths = [case / file for file in pictures]
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
    greedy = reference.greedy_tokens(prompt, paths, inputs)
    exact = precise.stages(*inputs) if precise is not reference else found
    stored = stored_stages(found, exact if len(references) > 1 or precise.exact else {}, brief)
    save_file({**stored, "greedy": greedy}, case / "stages.safetensors")
    text = reference.tokenizer.decode(greedy.tolist())
    manifest = {
        "checkpoint": checkpoint,
        "dtype": reference.dtype,
        "seed": seed,
        "picture_seed": picture_seed,
        "made_with": made_with(*reference.packages),
        "messages": built,
        "prompt": prompt,
        "prompt_tokens": int(found["input_ids"].size),
        "text": text,
        "smallest_greedy_margin": round(margin, 3),
        "shapes": {name: list(value.shape) for name, value in stored.items()},
        "reference_noise": noise(found, exact) if precise is not reference else {},
    }
    write_json(case / "manifest.json", manifest)
    print(f"{folder.name} {name}: margin {margin:.3f}, {text!r}", flush=True)

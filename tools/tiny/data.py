"""Training batches: patches, packed questions, and dense labels for every image token.

Shapes: B pictures, P patches (4 per image token), N image tokens, L text positions.
A picture and up to five questions share one row: the prefix (segment 0) is seen by all questions,
a question (segment 1, 2, ...) sees only the prefix and itself, and its positions start after the
prefix, so each is computed exactly as when asked alone.
"""
import os
import random

import numpy as np
import torch
from PIL import Image

import questions
import scenes
import tokenizer as tiny_tokenizer
import vocabulary as words

PATCH, MERGE, CELL = 14, 2, 28
MIN_PIXELS, MAX_PIXELS = 30 * CELL * CELL, 49 * CELL * CELL
MEAN = np.array([0.48145466, 0.4578275, 0.40821073], np.float32)
STD = np.array([0.26862954, 0.26130258, 0.27577711], np.float32)
IGNORE = -100
LONGEST_GRID = 16
LETTER_SLOTS = 10  # letter index within its word is told apart up to this
RANKS = 6  # so are a thing's place among things of its name, and their number


def smart_resize(height, width):
    """The qwen2_vl rule: both sides multiples of 28, area within bounds, shape kept."""
    h, w = round(height / CELL) * CELL, round(width / CELL) * CELL
    if h * w > MAX_PIXELS:
        beta = (height * width / MAX_PIXELS) ** .5
        h = max(CELL, int(height / beta / CELL) * CELL)
        w = max(CELL, int(width / beta / CELL) * CELL)
    elif h * w < MIN_PIXELS:
        beta = (MIN_PIXELS / (height * width)) ** .5
        h = -int(-height * beta // CELL) * CELL
        w = -int(-width * beta // CELL) * CELL
    return h, w


def to_patches(picture: Image.Image) -> tuple[np.ndarray, int, int]:
    """uint8 patches [P, 588] in the tower's order (2 x 2 blocks together), and rows, columns of
    image tokens."""
    height, width = smart_resize(picture.height, picture.width)
    pixels = np.asarray(picture.resize((width, height), Image.Resampling.BICUBIC))
    rows, columns = height // CELL, width // CELL
    blocks = pixels.reshape(rows, MERGE, PATCH, columns, MERGE, PATCH, 3)
    return blocks.transpose(0, 3, 1, 4, 6, 2, 5).reshape(-1, 3 * PATCH * PATCH), rows, columns


CLASS_OF = {name: i for i, name in enumerate(words.CLASSES)}
COLOUR_OF = {name: i for i, name in enumerate(words.COLOUR_NAMES)}


def dense_labels(scene: scenes.Scene, rows: int, columns: int) -> dict[str, np.ndarray]:
    """What each image token shows. Offsets are from the token's middle to the thing's centre, in
    tokens; letters are looked up in the left and the right half of each token."""
    n = rows * columns
    labels = {
        "class": np.zeros(n, np.int64), "colour": np.full(n, IGNORE, np.int64),
        "offset": np.zeros((n, 2), np.float32), "has_centre": np.zeros(n, np.float32),
        "letter": np.full((n, 2), 0, np.int64), "slot": np.full((n, 2), IGNORE, np.int64),
        "rank": np.full(n, IGNORE, np.int64), "many": np.full(n, IGNORE, np.int64),
    }
    wide, tall = scene.picture.width / columns, scene.picture.height / rows
    for thing in scene.things:
        left, top, right, bottom = thing.box
        if thing.kind == "text":
            label_letters(labels, thing, rows, columns, wide, tall)
            continue
        cx, cy = thing.centre
        alike = sorted(t.centre for t in scene.things if t.name == thing.name)
        for row in range(max(0, int(top / tall)), min(rows, int(bottom / tall) + 1)):
            for column in range(max(0, int(left / wide)), min(columns, int(right / wide) + 1)):
                x, y = (column + .5) * wide, (row + .5) * tall
                if not (left <= x <= right and top <= y <= bottom):
                    if thing.kind != "button" or not (
                            left - wide * .2 <= x <= right + wide * .2
                            and top - tall * .2 <= y <= bottom + tall * .2):
                        continue
                i = row * columns + column
                labels["class"][i] = CLASS_OF[thing.name]
                if thing.colour:
                    labels["colour"][i] = COLOUR_OF[thing.colour]
                labels["offset"][i] = (cx - x) / wide, (cy - y) / tall
                labels["has_centre"][i] = 1
                labels["rank"][i] = min(alike.index(thing.centre), RANKS - 1)
                labels["many"][i] = min(len(alike), RANKS) - 1
    return labels


def label_letters(labels, thing, rows, columns, wide, tall):
    _, top, _, bottom = thing.box
    for row in range(rows):
        overlap = min(bottom, (row + 1) * tall) - max(top, row * tall)
        if overlap < .35 * min(tall, bottom - top):
            continue
        for column in range(columns):
            for side in (0, 1):
                x = (column + .25 + .5 * side) * wide
                for slot, (letter, left, right) in enumerate(thing.letters):
                    if left <= x < right:
                        i = row * columns + column
                        labels["letter"][i, side] = 1 + scenes.LETTERS.index(letter)
                        labels["slot"][i, side] = min(slot, LETTER_SLOTS - 1)
                        labels["colour"][i] = COLOUR_OF[thing.colour]


class Packer:
    """Turns scenes and questions into rows of token ids."""

    def __init__(self):
        self.tokenizer = tiny_tokenizer.build()
        one = self.tokenizer.token_to_id
        self.image, self.pad = one("<|image_pad|>"), one("<|endoftext|>")
        self.head = self.ids("<|im_start|>user\n<|vision_start|>")
        self.after = self.ids("<|vision_end|>")

    def ids(self, text: str) -> list[int]:
        return self.tokenizer.encode(text).ids

    def row(self, rows: int, columns: int, asked) -> dict[str, list]:
        n = rows * columns
        ids = self.head + [self.image] * n + self.after
        start = len(self.head)
        t = list(range(start)) + [start] * n
        h = list(range(start)) + [start + i // columns for i in range(n)]
        w = list(range(start)) + [start + i % columns for i in range(n)]
        following = start + max(rows, columns)
        for axis in (t, h, w):
            axis.append(following)
        segment, target = [0] * len(ids), [IGNORE] * len(ids)
        for number, question in enumerate(asked, 1):
            prompt = self.ids(question.prompt + "<|im_end|>\n<|im_start|>assistant\n")
            answer = self.ids(question.answer + "<|im_end|>")
            tokens = (prompt + answer)[:-1]
            target += [IGNORE] * (len(prompt) - 1) + answer
            ids += tokens
            segment += [number] * len(tokens)
            places = range(following + 1, following + 1 + len(tokens))
            for axis in (t, h, w):
                axis.extend(places)
        return {"ids": ids, "t": t, "h": h, "w": w, "segment": segment, "target": target}


def padded(rows: list[list[int]], value: int) -> torch.Tensor:
    longest = max(len(r) for r in rows)
    return torch.tensor([r + [value] * (longest - len(r)) for r in rows])


def make_batch(rng, packer, size, count, mix, questions_each=5, scene_maker=scenes.make_scene):
    """A batch of pictures of one size."""
    made = [scene_maker(rng, mix, size) for _ in range(count)]
    patches, labels, packed = [], [], []
    for scene in made:
        pixels, rows, columns = to_patches(scene.picture)
        patches.append(pixels)
        labels.append(dense_labels(scene, rows, columns))
        asked = questions.ask(rng, scene, questions_each) if questions_each else []
        packed.append(packer.row(rows, columns, asked))
    batch = {"patches": torch.from_numpy(np.stack(patches)), "rows": rows, "columns": columns}
    for key in labels[0]:
        batch[key] = torch.from_numpy(np.stack([label[key] for label in labels]))
    batch["ids"] = padded([p["ids"] for p in packed], packer.pad)
    batch["positions"] = torch.stack([padded([p[axis] for p in packed], 0) for axis in "thw"])
    batch["segment"] = padded([p["segment"] for p in packed], -1)
    batch["target"] = padded([p["target"] for p in packed], IGNORE)
    batch["image_start"] = len(packer.head)
    return batch


class Batches(torch.utils.data.IterableDataset):
    """Endless batches; what is drawn is decided by the seed alone. `settings` is read anew for each
    batch through shared memory-free means: the loader is restarted when the mix changes."""

    def __init__(self, seed, count, mix, questions_each):
        self.seed, self.count, self.mix, self.questions_each = seed, count, mix, questions_each

    def __iter__(self):
        os.nice(5)
        torch.set_num_threads(1)
        rng, packer = random.Random(self.seed), Packer()
        while True:
            size = rng.choices(scenes.SIZES, scenes.SIZE_WEIGHTS)[0]
            yield make_batch(rng, packer, size, self.count, self.mix, self.questions_each)

"""Draws labelled scenes and asks questions about them. Everything follows from one random.Random.

A scene is a PIL picture of a natural size plus its things, each with its box in picture pixels.
Sizes are chosen in "model pixels": those of the picture after the processor has shrunk it to about
196 x 196, because only those decide what the model can make out.
"""
import functools
import math
import random
from dataclasses import dataclass, field

from PIL import Image, ImageDraw, ImageFont

import vocabulary as words

SIZES = [  # (width, height): what people hand in, and its grid of 28-pixel tokens
    (392, 392), (448, 336), (336, 448), (480, 270), (270, 480), (420, 360), (360, 420),
    (224, 224), (300, 225), (196, 140), (168, 168), (640, 480),
]
SIZE_WEIGHTS = [5, 5, 2, 3, 1, 1, 1, 4, 2, 1, 1, 1]
FONT_ROOT = "/usr/share/fonts/truetype/"
FONTS = [FONT_ROOT + name for name in (
    "dejavu/DejaVuSans.ttf", "dejavu/DejaVuSans-Bold.ttf", "dejavu/DejaVuSerif.ttf",
    "dejavu/DejaVuSansMono-Bold.ttf", "liberation/LiberationSans-Regular.ttf",
    "liberation/LiberationSans-Bold.ttf", "liberation/LiberationSerif-Bold.ttf",
    "liberation/LiberationMono-Regular.ttf", "lato/Lato-Regular.ttf", "lato/Lato-Bold.ttf",
    "open-sans/OpenSans-Regular.ttf", "open-sans/OpenSans-Semibold.ttf", "noto/NotoSans-Bold.ttf",
    "noto/NotoSerif-Regular.ttf",
)]
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


@dataclass
class Thing:
    name: str  # a word of vocabulary.THINGS or BUTTONS, or "" for text
    box: tuple[float, float, float, float]  # left, top, right, bottom in picture pixels
    colour: str = ""
    kind: str = "emoji"  # emoji, shape, button, text
    text: str = ""
    letters: list = field(default_factory=list)  # (letter, left, right) of drawn text

    @property
    def centre(self):
        return (self.box[0] + self.box[2]) / 2, (self.box[1] + self.box[3]) / 2

    def full_name(self) -> str:
        return f"{self.colour} {self.name}" if self.kind == "shape" else self.name


@dataclass
class Scene:
    picture: Image.Image
    things: list
    kind: str

    def point(self, thing: Thing) -> tuple[int, int]:
        """Centre in percent of width and height, 0 to 99."""
        x, y = thing.centre
        width, height = self.picture.size
        return min(99, max(0, int(100 * x / width))), min(99, max(0, int(100 * y / height)))


@dataclass
class Question:
    kind: str  # object, colour, count, relation, word, point, click, list, absent
    prompt: str
    answer: str
    box: tuple = ()  # where a right point may lie, in percent


# ---------------------------------------------------------------- drawing

@functools.lru_cache(maxsize=None)
def emoji_bitmap(symbol: str) -> Image.Image:
    font = ImageFont.truetype(FONT_ROOT + "noto/NotoColorEmoji.ttf", 109)
    sheet = Image.new("RGBA", (160, 160))
    ImageDraw.Draw(sheet).text((8, 8), symbol, font=font, embedded_color=True)
    return sheet.crop(sheet.getbbox())


@functools.lru_cache(maxsize=4000)
def font_of(path: str, size: int):
    return ImageFont.truetype(path, size, layout_engine=ImageFont.Layout.BASIC)


def shape_points(name: str) -> list:
    turn = 2 * math.pi
    if name == "square":
        return [(-.85, -.85), (.85, -.85), (.85, .85), (-.85, .85)]
    if name == "triangle":
        return [(0, -.95), (.95, .8), (-.95, .8)]
    if name == "diamond":
        return [(0, -1), (.72, 0), (0, 1), (-.72, 0)]
    if name == "cross":
        a = .33
        return [(-a, -1), (a, -1), (a, -a), (1, -a), (1, a), (a, a), (a, 1), (-a, 1), (-a, a),
                (-1, a), (-1, -a), (-a, -a)]
    if name == "star":
        return [((1 if i % 2 == 0 else .42) * math.sin(turn * i / 10),
                 -(1 if i % 2 == 0 else .42) * math.cos(turn * i / 10)) for i in range(10)]
    if name == "heart":
        return [(math.sin(t) ** 3, -(13 * math.cos(t) - 5 * math.cos(2 * t) - 2 * math.cos(3 * t)
                                     - math.cos(4 * t)) / 16)
                for t in (turn * i / 40 for i in range(40))]
    return [(math.sin(turn * i / 48), -math.cos(turn * i / 48)) for i in range(48)]  # circle, ring


@functools.lru_cache(maxsize=None)
def shape_mask(name: str) -> Image.Image:
    mask = Image.new("L", (160, 160))
    pen = ImageDraw.Draw(mask)
    pen.polygon([(80 + 78 * x, 80 + 78 * y) for x, y in shape_points(name)], fill=255)
    if name == "ring":
        pen.ellipse((38, 38, 122, 122), fill=0)
    return mask


def vary(rng: random.Random, rgb, amount: int):
    return tuple(min(255, max(0, c + rng.randint(-amount, amount))) for c in rgb)


def background(rng: random.Random, size) -> Image.Image:
    """A plain, graded or softly mottled ground, mostly pale."""
    style = rng.random()
    pale = rng.random() < .75
    base = [rng.randint(170, 255) if pale else rng.randint(0, 255) for _ in range(3)]
    if style < .15:
        base = [255, 255, 255]
    if style < .55:
        return Image.new("RGB", size, tuple(base))
    cells = 2 if style < .8 else 5
    small = Image.new("RGB", (cells, cells))
    spread = 40 if cells == 2 else 18
    small.putdata([vary(rng, base, spread) for _ in range(cells * cells)])
    return small.resize(size, Image.Resampling.BICUBIC)


def ground_at(picture: Image.Image, box):
    cut = picture.crop(tuple(int(v) for v in box)).resize((1, 1), Image.Resampling.BOX)
    return cut.getpixel((0, 0))


def far(a, b) -> float:
    return sum(abs(x - y) for x, y in zip(a, b))


def contrasting_colour(rng, ground) -> str:
    fit = [c for c, rgb in words.COLOURS.items() if far(rgb, ground) > 130]
    return rng.choice(fit)


def paste(picture, stamp, centre, size, angle):
    """Pastes a stamp scaled so that its longer side is `size`; gives back its box."""
    scale = size / max(stamp.size)
    stamp = stamp.resize((max(2, round(stamp.width * scale)), max(2, round(stamp.height * scale))),
                         Image.Resampling.BILINEAR)
    width, height = stamp.size
    if angle:
        stamp = stamp.rotate(angle, Image.Resampling.BILINEAR, expand=True)
    left, top = round(centre[0] - stamp.width / 2), round(centre[1] - stamp.height / 2)
    picture.paste(stamp, (left, top), stamp)
    return (centre[0] - width / 2, centre[1] - height / 2,
            centre[0] + width / 2, centre[1] + height / 2)


def draw_thing(rng, picture, name: str, centre, size: float, colour: str = "") -> Thing:
    angle = rng.choice([0, 0, rng.uniform(-15, 15)])
    if name in words.SHAPES:
        box = [centre[0] - size / 2, centre[1] - size / 2, centre[0] + size / 2, centre[1] + size / 2]
        colour = colour or contrasting_colour(rng, ground_at(picture, box))
        stamp = Image.new("RGBA", (160, 160), vary(rng, words.COLOURS[colour], 12))
        stamp.putalpha(shape_mask(name))
        if name in ("square", "diamond", "cross"):
            angle /= 2
        return Thing(name, paste(picture, stamp, centre, size, angle), colour, "shape")
    symbol = next(e for e, n in words.NAME_OF_EMOJI.items() if n == name)
    stamp = emoji_bitmap(symbol)
    if rng.random() < .3:
        stamp = stamp.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    return Thing(name, paste(picture, stamp, centre, size, angle))


def draw_text(rng, picture, text, centre, font_path, size, colour, spacing=0.0) -> Thing:
    """Draws letter by letter, so that each letter's place is known exactly."""
    font = font_of(font_path, round(size))
    widths = [font.getlength(c) + spacing for c in text]
    left = centre[0] - (sum(widths) - spacing) / 2
    rise = font.getbbox("H")
    baseline = centre[1] + (rise[3] - rise[1]) / 2
    pen = ImageDraw.Draw(picture)
    spans = []
    x = left
    for letter, width in zip(text, widths):
        pen.text((x, baseline), letter, font=font, fill=colour, anchor="ls")
        spans.append((letter.upper(), x, x + width - spacing))
        x += width
    half = (rise[3] - rise[1]) / 2
    box = (left, centre[1] - half, x - spacing, centre[1] + half)
    return Thing("", box, kind="text", text=text, letters=spans)


# ---------------------------------------------------------------- composing

def unit_of(size) -> float:
    """Picture pixels per model pixel."""
    return math.sqrt(size[0] * size[1]) / 190


def place(rng, size, wanted, gap=4.0):
    """Centres for squares of the wanted sides that do not touch; shrinks them when crowded."""
    width, height = size
    for attempt in range(40):
        shrink = .96 ** attempt
        boxes = []
        for side in wanted:
            half = side * shrink / 2
            x, y = rng.uniform(half, width - half), rng.uniform(half, height - half)
            if any(max(abs(x - bx), abs(y - by)) < half + bh + gap for bx, by, bh in boxes):
                break
            boxes.append((x, y, half))
        if len(boxes) == len(wanted):
            return boxes
    return boxes or [(width / 2, height / 2, min(size) / 4)]


def single_scene(rng, size) -> Scene:
    picture = background(rng, size)
    side = rng.uniform(.35, .85) * min(size)
    (x, y, half), = place(rng, size, [side])
    name = rng.choice(words.THINGS) if rng.random() < .75 else rng.choice(words.SHAPES)
    return Scene(picture, [draw_thing(rng, picture, name, (x, y), 2 * half)], "single")


def several_scene(rng, size, most=4) -> Scene:
    picture = background(rng, size)
    count = rng.choice([2, 2, 3, 3, most])
    names = []
    while len(names) < count:
        name = rng.choice(words.THINGS) if rng.random() < .65 else rng.choice(words.SHAPES)
        if name not in names:
            names.append(name)
    sides = [rng.uniform(.28, .45) * min(size) * (1.15 if count == 2 else 1) for _ in names]
    spots = place(rng, size, sides)
    things = [draw_thing(rng, picture, n, (x, y), 2 * h) for n, (x, y, h) in zip(names, spots)]
    return Scene(picture, things, "several")


def count_scene(rng, size, most=5) -> Scene:
    picture = background(rng, size)
    pool = words.THINGS if rng.random() < .7 else words.SHAPES
    name = rng.choice(pool)
    count = rng.randint(1, most)
    others = rng.choice([0, 0, 1, 2]) if count < 5 else 0
    names = [name] * count + rng.sample([t for t in words.THINGS if t != name], others)
    side = min(size) * rng.uniform(.24, .32)
    spots = place(rng, size, [side * rng.uniform(.85, 1.15) for _ in names])
    colour = ""
    things = []
    for n, (x, y, h) in zip(names, spots):
        thing = draw_thing(rng, picture, n, (x, y), 2 * h, colour if n == name else "")
        if n == name and name in words.SHAPES and rng.random() < .6:
            colour = thing.colour
        things.append(thing)
    return Scene(picture, things, "count")


def make_word(rng, longest: int) -> str:
    if rng.random() < .45:
        word = rng.choice(words.WORDS)
        if len(word) <= longest:
            return word
    length = min(longest, rng.choice([2, 3, 3, 4, 4, 5, 5, 6, 6, 7]))
    if rng.random() < .4:
        return "".join(rng.choice(LETTERS) for _ in range(length)).lower()
    start = rng.random() < .5
    return "".join(rng.choice("AEIOUAEIOUY" if (i % 2 == 0) == start else "BCDFGHJKLMNPQRSTVWXZ")
                   for i in range(length)).lower()


def in_case(rng, word: str) -> str:
    chance = rng.random()
    return word.upper() if chance < .7 else word.capitalize() if chance < .85 else word


def text_scene(rng, size, lines=None, longest=7) -> Scene:
    """One big word, or a page of two to four words below one another."""
    picture = background(rng, size)
    unit = unit_of(size)
    if lines is None:
        lines = rng.choice([1, 1, 1, 2, 2, 3])
    things = []
    for i in range(lines):
        text = in_case(rng, make_word(rng, longest))
        path = rng.choice(FONTS)
        trial = font_of(path, 100)
        natural = sum(trial.getlength(c) for c in text) / 100
        spacing = rng.choice([0, 0, 0, .08, .16])
        fit = .94 * size[0] / (natural + spacing * len(text))
        most = min(fit, size[1] / lines * .85, 62 * unit)
        font_size = rng.uniform(min(most, 34 * unit), most)
        wide = font_size * (natural + spacing * (len(text) - 1))
        x = rng.uniform(wide / 2, size[0] - wide / 2) if wide < size[0] else size[0] / 2
        band = size[1] / lines
        slack = max(0, band - font_size * .9) / 2
        y = band * (i + .5) + rng.uniform(-slack, slack)
        ground = ground_at(picture, (x - wide / 2, y - 5, x + wide / 2, y + 5))
        colour = contrasting_colour(rng, ground)
        if far(words.COLOURS[colour], ground) < 220:
            colour = contrasting_colour(rng, ground)
        thing = draw_text(rng, picture, text, (x, y), path, font_size,
                          vary(rng, words.COLOURS[colour], 8), spacing * font_size)
        thing.colour = colour
        things.append(thing)
    return Scene(picture, things, "text")


def crowd_scene(rng, size) -> Scene:
    """Many different things in a loose grid: much to learn from one picture."""
    picture = background(rng, size)
    columns = rng.randint(2, 4)
    pitch = size[0] / columns
    lines = max(1, round(size[1] / pitch))
    tall = size[1] / lines
    names = rng.sample(words.THINGS, min(columns * lines, len(words.THINGS)))
    if rng.random() < .4:
        names = [rng.choice(words.SHAPES) if rng.random() < .4 else n for n in names]
    things = []
    for i, name in enumerate(names):
        if rng.random() < .1:
            continue
        side = min(pitch, tall) * rng.uniform(.65, .98)
        x = (i % columns + .5) * pitch + rng.uniform(-.5, .5) * (pitch - side)
        y = (i // columns + .5) * tall + rng.uniform(-.5, .5) * (tall - side)
        things.append(draw_thing(rng, picture, name, (x, y), side))
    return Scene(picture, things, "several")


def page_scene(rng, size) -> Scene:
    """Lines of text, one or two words each, in one font: many letters in one picture."""
    picture = background(rng, size)
    unit = unit_of(size)
    path, font_size = rng.choice(FONTS), rng.uniform(25, 44) * unit
    font = font_of(path, round(font_size))
    spacing = rng.choice([0, 0, .06, .14]) * font_size
    ground = ground_at(picture, (0, 0, *size))
    colour = contrasting_colour(rng, ground)
    lines = max(1, int(size[1] / (font_size * rng.uniform(1.0, 1.4))))
    things = []
    for line in range(lines):
        left = rng.uniform(0, .3 * font_size)
        for _ in range(3):
            text = in_case(rng, make_word(rng, 7))
            wide = sum(font.getlength(c) + spacing for c in text)
            if left + wide > size[0]:
                continue
            y = size[1] * (line + .5) / lines
            thing = draw_text(rng, picture, text, (left + wide / 2, y), path, font_size,
                              words.COLOURS[colour], spacing)
            thing.colour = colour
            things.append(thing)
            left += wide + rng.uniform(.4, 1.2) * font_size
            if rng.random() < .15:
                colour = contrasting_colour(rng, ground)
    return Scene(picture, things, "page")


def button_scene(rng, size) -> Scene:
    """One to four buttons with labels, as a dialogue has them."""
    picture = background(rng, size)
    unit = unit_of(size)
    count = rng.choice([1, 2, 2, 3, 3, 4])
    labels = rng.sample(words.BUTTONS, count)
    style = (rng.choice(FONTS), rng.uniform(19, 25) * unit, rng.random() < .6, rng.uniform(4, 12))
    colour = rng.choice(words.COLOUR_NAMES)
    things, taken = [], []
    for label in labels:
        font = font_of(style[0], round(style[1]))
        wide = max(font.getlength(label) + rng.uniform(12, 28) * unit, 52 * unit)
        tall = style[1] + rng.uniform(10, 22) * unit
        if wide > size[0] * .97:
            continue
        for _ in range(30):
            x, y = rng.uniform(wide / 2, size[0] - wide / 2), rng.uniform(tall / 2, size[1] - tall / 2)
            if all(abs(x - a) > (wide + w) / 2 + 3 or abs(y - b) > (tall + h) / 2 + 3
                   for a, b, w, h in taken):
                break
        else:
            continue
        taken.append((x, y, wide, tall))
        name = colour if style[2] else rng.choice(words.COLOUR_NAMES)
        fill = vary(rng, words.COLOURS[name], 10)
        box = (x - wide / 2, y - tall / 2, x + wide / 2, y + tall / 2)
        ink = (255, 255, 255) if sum(fill) < 420 else (15, 15, 15)
        ImageDraw.Draw(picture).rounded_rectangle(
            box, radius=style[3] * unit, fill=fill,
            outline=(60, 60, 60) if far(fill, ground_at(picture, box)) < 120 else None, width=2)
        draw_text(rng, picture, label, (x, y), style[0], style[1], ink)
        things.append(Thing(label, box, name, "button", label))
    return Scene(picture, things, "buttons")


COMPOSERS = {
    "single": single_scene, "several": several_scene, "count": count_scene, "text": text_scene,
    "buttons": button_scene, "crowd": crowd_scene, "page": page_scene,
}


def make_scene(rng: random.Random, mix: dict[str, float], size=None) -> Scene:
    size = size or rng.choices(SIZES, SIZE_WEIGHTS)[0]
    kind = rng.choices(list(mix), list(mix.values()))[0]
    while True:
        scene = COMPOSERS[kind](rng, size)
        if scene.things:
            return scene

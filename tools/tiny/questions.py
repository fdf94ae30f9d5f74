"""Questions about a scene with their answers. Answers write down first what the last word needs:
the points before "left", the list of points before the count."""
import random

import vocabulary as words
from scenes import Question, Scene, Thing


def percent_box(scene: Scene, thing: Thing) -> tuple:
    width, height = scene.picture.size
    left, top, right, bottom = thing.box
    return 100 * left / width, 100 * top / height, 100 * right / width, 100 * bottom / height


def spoken_point(scene: Scene, thing: Thing) -> str:
    x, y = scene.point(thing)
    return f"({x}, {y})"


def listing(things) -> str:
    names = [words.with_article(t.full_name()) for t in sorted(things, key=lambda t: t.centre)]
    joined = names[0] if len(names) == 1 else ", ".join(names[:-1]) + " and " + names[-1]
    return joined[0].upper() + joined[1:] + "."


def ask_object(rng, scene):
    things = [t for t in scene.things if t.kind in ("emoji", "shape")]
    if not things or len(things) != len(scene.things):
        return None
    if len({t.name for t in things}) != len(things) or len(things) > 4:
        return None
    if len(things) == 1:
        prompt = rng.choice(["What is this?", "What is this?", "What is in the picture?",
                             "What do you see?", "what is this?", "Describe the picture."])
        return Question("object", prompt, listing(things))
    prompt = rng.choice(["What is in the picture?", "What do you see?", "Describe the picture.",
                         "What is in the image?"])
    return Question("list", prompt, listing(things))


def ask_colour(rng, scene):
    shapes = [t for t in scene.things if t.kind == "shape"]
    names = [t.name for t in shapes]
    choices = [(t, t.name) for t in shapes if names.count(t.name) == 1]
    if scene.kind == "text" and len(scene.things) == 1:
        choices = [(scene.things[0], rng.choice(["text", "word"]))]
    if scene.kind == "buttons":
        choices = [(t, f"{t.name} button") for t in scene.things]
    if not choices:
        return None
    thing, name = rng.choice(choices)
    prompt = rng.choice([f"What colour is the {name}?", f"What color is the {name}?"])
    kind = "colour" if thing.kind == "shape" else "colour of text or button"
    return Question(kind, prompt, thing.colour.capitalize() + ".")


def unique_things(scene):
    names = [t.name for t in scene.things]
    return [t for t in scene.things if t.kind in ("emoji", "shape") and names.count(t.name) == 1]


def ask_point(rng, scene):
    things = unique_things(scene)
    if not things:
        return None
    thing = rng.choice(things)
    prompt = rng.choice([f"Where is the {thing.name}?", f"Point to the {thing.name}."])
    answer = f"The {thing.name} is at {spoken_point(scene, thing)}."
    return Question("point", prompt, answer, percent_box(scene, thing))


def ask_absent(rng, scene):
    if scene.kind == "text":
        return None
    name = rng.choice([n for n in words.THINGS if all(t.name != n for t in scene.things)])
    prompt = rng.choice([f"Where is the {name}?", f"Point to the {name}."])
    return Question("absent", prompt, f"There is no {name}.")


def ask_relation(rng, scene):
    things = unique_things(scene)
    if len(things) < 2:
        return None
    one, two = rng.sample(things, 2)
    (x1, y1), (x2, y2) = scene.point(one), scene.point(two)
    axes = [a for a, gap in (("x", abs(x1 - x2)), ("y", abs(y1 - y2))) if gap >= 12]
    if not axes:
        return None
    if rng.choice(axes) == "x":
        pair, word = ("left", "right"), "left" if x1 < x2 else "right"
        tail = f"left or right of the {two.name}?"
    else:
        pair, word = ("above", "below"), "above" if y1 < y2 else "below"
        tail = f"above or below the {two.name}?"
    answer = (f"The {one.name} {spoken_point(scene, one)}, the {two.name} "
              f"{spoken_point(scene, two)}: {word}.")
    return Question("relation " + "/".join(pair), f"Is the {one.name} {tail}", answer)


def ask_count(rng, scene):
    if scene.kind not in ("count", "several"):
        return None
    name = scene.things[0].name if scene.kind == "count" else rng.choice(scene.things).name
    if rng.random() < .2:
        name = rng.choice(scene.things).name
    elif rng.random() < .06:
        name = rng.choice(words.THINGS)
    found = sorted((t for t in scene.things if t.name == name), key=lambda t: t.centre)
    points = " ".join(spoken_point(scene, t) for t in found) or "none"
    noun = name if len(found) == 1 else words.plural(name)
    prompt = rng.choice([f"How many {words.plural(name)} are there?",
                         f"How many {words.plural(name)} do you see?",
                         f"Count the {words.plural(name)}."])
    return Question("count", prompt, f"I see {points}: {len(found)} {noun}.")


def ask_word(rng, scene):
    texts = [t for t in scene.things if t.kind == "text"]
    if not texts:
        return None
    if len(texts) == 1:
        prompt = rng.choice(["What does it say?", "Read the text.", "Read the word.",
                             "What does the text say?", "What word is this?"])
        kind = "word" if len(texts[0].text) <= 6 else "long word"
        return Question(kind, prompt, f'It says "{texts[0].text.upper()}".')
    which = rng.choice(["top", "bottom"])
    text = texts[0 if which == "top" else -1].text.upper()
    return Question("line", f"Read the {which} line.", f'It says "{text}".')


def ask_click(rng, scene):
    buttons = [t for t in scene.things if t.kind == "button"]
    if not buttons:
        return None
    button = rng.choice(buttons)
    prompt = rng.choice([f"Click the {button.name} button.", f"Where is the {button.name} button?",
                         f"Click {button.name}.", f"Press the {button.name} button."])
    answer = f"The {button.name} button is at {spoken_point(scene, button)}."
    return Question("click", prompt, answer, percent_box(scene, button))


def ask_buttons(rng, scene):
    """What a picture of one button is."""
    if scene.kind != "buttons" or len(scene.things) != 1:
        return None
    name = scene.things[0].name
    article = "An" if name in ("OK", "Open") else "A"
    return Question("button", rng.choice(["What is this?", "What is in the picture?"]),
                    f"{article} {name} button.")


ASKERS = {
    "object": ask_object, "colour": ask_colour, "point": ask_point, "absent": ask_absent,
    "relation": ask_relation, "count": ask_count, "word": ask_word, "click": ask_click,
    "button": ask_buttons,
}
WANTED = {  # how often each kind of question is tried, by kind of scene
    "single": ["object", "object", "colour", "point", "absent"],
    "several": ["object", "colour", "point", "relation", "relation", "relation", "count", "absent"],
    "count": ["count", "count", "count", "point", "relation"],
    "text": ["word", "word", "word", "colour"],
    "buttons": ["click", "click", "click", "colour", "button"],
    "page": [],
}


def ask(rng: random.Random, scene: Scene, most: int) -> list[Question]:
    """Up to `most` different questions about a scene."""
    asked = {}
    for kind in rng.sample(WANTED[scene.kind], len(WANTED[scene.kind])):
        question = ASKERS[kind](rng, scene)
        if question and len(asked) < most:
            asked.setdefault((question.kind, question.answer), question)
    return list(asked.values())

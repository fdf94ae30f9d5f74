"""Draws examples/pictures and questions.tsv (picture, question, what a person would answer)."""
import random
from pathlib import Path

import scenes

FOLDER = Path(__file__).resolve().parents[2] / "examples/pictures"
SIZE = (448, 336)


def things(rng, *wanted):
    """A plain picture with named things at (x, y, size); shapes take a colour."""
    picture = scenes.background(rng, SIZE)
    for name, x, y, size, colour in wanted:
        scenes.draw_thing(rng, picture, name, (x, y), size, colour)
    return picture


def main():
    rng = random.Random(2026)
    FOLDER.mkdir(parents=True, exist_ok=True)
    cat_dog = things(rng, ("cat", 120, 170, 130, ""), ("dog", 330, 170, 130, ""))
    shapes = things(rng, ("circle", 110, 100, 110, "red"), ("square", 330, 110, 110, "blue"),
                    ("triangle", 220, 250, 110, "green"))
    bus = things(rng, ("bus", 224, 168, 190, ""))
    word = scenes.background(rng, SIZE)
    scenes.draw_text(rng, word, "STOP", (224, 168),
                     scenes.FONT_ROOT + "dejavu/DejaVuSans-Bold.ttf", 90, "black")
    rows = [
        ("cat_dog", cat_dog, "What is in the picture?", "A cat and a dog."),
        ("cat_dog", cat_dog, "Is the cat left or right of the dog?", "Left."),
        ("shapes", shapes, "What colour is the square?", "Blue."),
        ("bus", bus, "What is this?", "A bus."),
        ("bus", bus, "Where is the bus?", "In the middle."),
        ("word", word, "What does it say?", "STOP"),
    ]
    lines = []
    for name, picture, question, answer in rows:
        picture.save(FOLDER / f"{name}.png", optimize=True)
        lines.append(f"{name}.png\t{question}\t{answer}\n")
    (FOLDER / "questions.tsv").write_text("".join(lines))


if __name__ == "__main__":
    main()

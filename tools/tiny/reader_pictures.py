"""Writes the 24 pictures and questions of check_readers into a folder."""
import json
import sys
from pathlib import Path

import evaluate

SEED, QUESTIONS = 555_001, 24


def main():
    folder = Path(sys.argv[1])
    kinds = evaluate.questions_by_kind(SEED, 4).values()
    asked = [pair for kind in kinds for pair in kind][:QUESTIONS]
    for number, (scene, _) in enumerate(asked):
        scene.picture.save(folder / f"{number}.png")
    (folder / "questions.json").write_text(json.dumps([q.prompt for _, q in asked]))


if __name__ == "__main__":
    main()

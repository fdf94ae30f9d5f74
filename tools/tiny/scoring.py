"""Decides whether an answer is right, looking only at what the question asked for."""
import re

import vocabulary as words
from scenes import Question

KINDS = ["object", "list", "colour", "colour of text or button", "count", "relation left/right",
         "relation above/below", "word", "long word", "line", "point", "click", "absent", "button"]


def points_in(text: str) -> list[tuple[int, int]]:
    return [(int(x), int(y)) for x, y in re.findall(r"\((\d{1,2}), (\d{1,2})\)", text)]


def named(text: str) -> list[str]:
    return sorted(re.findall("|".join(words.COLOUR_NAMES + words.THINGS + words.BUTTONS), text))


def right(question: Question, answer: str) -> bool:
    answer = answer.strip()
    kind = question.kind
    if kind in ("point", "click"):
        found = points_in(answer)
        if not found:
            return False
        (x, y), (left, top, low_right, bottom) = found[0], question.box
        return left <= x + .5 <= low_right and top <= y + .5 <= bottom
    if kind == "count":
        told = re.search(r":\s*(\d)", answer)
        return bool(told) and told.group(1) == re.search(r":\s*(\d)", question.answer).group(1)
    if kind.startswith("relation"):
        return answer.rstrip(".").split(":")[-1].strip() == \
            question.answer.rstrip(".").split(":")[-1].strip()
    if kind in ("word", "long word", "line"):
        told = re.search(r'"([^"]*)"', answer)
        return bool(told) and told.group(1) == re.search(r'"([^"]*)"', question.answer).group(1)
    if kind == "list":
        return named(answer) == named(question.answer)
    return answer.rstrip(".").lower() == question.answer.rstrip(".").lower()

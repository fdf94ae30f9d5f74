"""A quick look at how training goes: greedy answers through the training network."""
import random
from collections import defaultdict

import torch

import data
import questions
import scenes
import scoring

HELD_OUT = 900_001
PROBE_SIZES = [(448, 336), (392, 392), (480, 270)]


@torch.no_grad()
def answers(model, packer, group, longest=28):
    """Greedy answers to [(scene, question)] of one picture size."""
    pixels = [data.to_patches(scene.picture) for scene, _ in group]
    _, rows, columns = pixels[0]
    patches = torch.stack([torch.from_numpy(p) for p, _, _ in pixels])
    from train import normalised
    image = model.visual(normalised(patches), rows, columns)
    packed = [packer.row(rows, columns, [scenes.Question("", q.prompt, "")]) for _, q in group]
    end = packer.tokenizer.token_to_id("<|im_end|>")
    lines = [p["ids"] for p in packed]
    places = [[p[a] for p in packed] for a in "thw"]
    told = [[] for _ in group]
    done = [False] * len(group)
    for _ in range(longest):
        ids = data.padded(lines, packer.pad)
        positions = torch.stack([data.padded(a, 0) for a in places])
        segment = torch.zeros_like(ids)
        x = model.embed(ids, image, len(packer.head))
        hidden, _ = model.run_text(x, positions, segment)
        last = torch.tensor([len(line) - 1 for line in lines])
        chosen = model.logits(hidden[torch.arange(len(lines)), last]).argmax(-1).tolist()
        for i, token in enumerate(chosen):
            done[i] = done[i] or token == end
            if not done[i]:
                told[i].append(token)
                lines[i] = lines[i] + [token]
                for axis in places:
                    axis[i] = axis[i] + [axis[i][-1] + 1]
        if all(done):
            break
    return [packer.tokenizer.decode(t) for t in told]


def table(model, packer, each=16, seed=HELD_OUT) -> str:
    rng = random.Random(seed)
    groups, have = defaultdict(list), defaultdict(int)
    kinds = ["object", "list", "colour", "count", "relation left/right", "relation above/below",
             "word", "line", "point", "click", "absent"]
    for _ in range(each * 60):
        size = PROBE_SIZES[sum(have.values()) % len(PROBE_SIZES)]
        scene = scenes.make_scene(rng, {k: 1 for k in ("single", "several", "count", "text", "buttons")}, size)
        for question in questions.ask(rng, scene, 9):
            if question.kind in kinds and have[question.kind] < each:
                have[question.kind] += 1
                groups[size].append((scene, question))
                break
        if all(have[k] >= each for k in kinds):
            break
    right, samples = defaultdict(int), {}
    for group in groups.values():
        for (_, question), told in zip(group, answers(model, packer, group)):
            right[question.kind] += scoring.right(question, told)
            samples[question.kind] = f"    {question.prompt} -> {told}   [{question.answer}]"
    line = "  ".join(f"{k} {100 * right[k] / max(1, have[k]):.0f}" for k in kinds)
    return "PROBE " + line + "\n" + "\n".join(samples.values())

"""Trains fovea-tiny from random weights. State lives in build/tiny/, see README.md."""
import argparse
import math
import random
import time
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F

import data
import muon
import probe
import vocabulary as words
from model import TEXT, TinyModel

ROOT = Path(__file__).resolve().parents[2]
STATE = ROOT / "build" / "tiny"
DENSE = {"class": len(words.CLASSES), "colour": len(words.COLOUR_NAMES), "offset": 2,
         "letter": 2 * 27, "slot": 2 * data.LETTER_SLOTS, "rank": data.RANKS, "many": data.RANKS}
# Kinds of scenes, by how many pictures have been shown; without questions only the tower learns.
# First letters and things, a page or a crowd at a time; then answers; at last more of what is hard.
STAGES = [
    (0, False, {"crowd": .32, "count": .14, "page": .46, "buttons": .08}),
    (105_000, True, {"single": .1, "several": .28, "count": .2, "text": .24, "page": .08,
                     "buttons": .1}),
    (153_000, True, {"single": .06, "several": .38, "count": .23, "text": .16, "page": .06,
                     "buttons": .11}),
]
PICTURES = 246_000
WEIGHTS = {"dense": .6, "place": .2}


class Helpers(nn.Module):
    """Heads that exist only while training: they tell the image tokens what they show and where
    they are, long before answers could."""

    def __init__(self):
        super().__init__()
        width = TEXT["hidden_size"]
        self.dense = nn.Linear(width, sum(DENSE.values()))
        self.place = nn.Linear(width, 2 * data.LONGEST_GRID + 2)
        self.grid = nn.Linear(width, 2 * data.LONGEST_GRID)


def dense_loss(helpers, image_BND, batch):
    parts = dict(zip(DENSE, helpers.dense(image_BND).split(list(DENSE.values()), dim=-1)))
    weight = torch.ones(DENSE["class"])
    weight[0] = .15
    losses = {"class": F.cross_entropy(parts["class"].flatten(0, 1), batch["class"].flatten(), weight)}
    if (batch["colour"] >= 0).any():
        losses["colour"] = .4 * F.cross_entropy(parts["colour"].flatten(0, 1), batch["colour"].flatten())
    held = batch["has_centre"][..., None]
    miss = F.smooth_l1_loss(parts["offset"], batch["offset"], reduction="none", beta=.3)
    losses["offset"] = (miss * held).sum() / (held.sum() * 2 + 1)
    letter_weight = torch.ones(27)
    letter_weight[0] = .1
    losses["letter"] = F.cross_entropy(
        parts["letter"].reshape(-1, 27), batch["letter"].flatten(), letter_weight)
    if (batch["slot"] >= 0).any():
        losses["slot"] = .6 * F.cross_entropy(
            parts["slot"].reshape(-1, data.LETTER_SLOTS), batch["slot"].flatten())
    for part in ("rank", "many"):
        if (batch[part] >= 0).any():
            losses[part] = .4 * F.cross_entropy(parts[part].flatten(0, 1), batch[part].flatten())
    return losses, parts


def place_loss(helpers, tapped_BLD, batch):
    """Row, column and the shown thing's centre at image tokens; the grid's size just after them."""
    rows, columns, start = batch["rows"], batch["columns"], batch["image_start"]
    n = rows * columns
    side = data.LONGEST_GRID
    told = helpers.place(tapped_BLD[:, start:start + n])
    row = (torch.arange(n) // columns).expand(told.shape[0], n)
    column = (torch.arange(n) % columns).expand(told.shape[0], n)
    loss = F.cross_entropy(told[..., :side].flatten(0, 1), row.flatten())
    loss = loss + F.cross_entropy(told[..., side:2 * side].flatten(0, 1), column.flatten())
    centre = (torch.stack((column, row), -1) + .5 + batch["offset"]) / 4
    held = batch["has_centre"][..., None]
    miss = F.smooth_l1_loss(told[..., 2 * side:], centre, reduction="none", beta=.1)
    loss = loss + 2 * (miss * held).sum() / (held.sum() * 2 + 1)
    size = helpers.grid(tapped_BLD[:, start + n])
    truth = torch.tensor([rows, columns]).expand(told.shape[0], 2)
    return loss + F.cross_entropy(size.view(-1, side), truth.flatten())


def soft_targets(packer, vocab):
    """One-hot rows, except that a coordinate's neighbours count as nearly right."""
    table = torch.eye(vocab)
    for pattern in (" ({},", " {})"):
        ids = [packer.ids(pattern.format(n))[0] for n in range(100)]
        near = torch.tensor([[math.exp(-.5 * ((a - b) / 1.2) ** 2) for b in range(100)]
                             for a in range(100)])
        table[torch.tensor(ids)[:, None], torch.tensor(ids)] = near / near.sum(1, keepdim=True)
    return table


def normalised(patches):
    mean = torch.from_numpy(data.MEAN * 255).repeat_interleave(196)
    std = torch.from_numpy(data.STD * 255).repeat_interleave(196)
    return (patches.float() - mean) / std


def step_loss(model, helpers, batch, table, with_text):
    image = model.visual(normalised(batch["patches"]), batch["rows"], batch["columns"])
    losses, parts = dense_loss(helpers, image, batch)
    total = WEIGHTS["dense"] * sum(losses.values())
    if with_text:
        x = model.embed(batch["ids"], image, batch["image_start"])
        hidden, tapped = model.run_text(x, batch["positions"], batch["segment"])
        chosen = batch["target"] != data.IGNORE
        log = model.logits(hidden[chosen]).log_softmax(-1)
        losses["answer"] = -(table[batch["target"][chosen]] * log).sum(-1).mean()
        losses["place"] = WEIGHTS["place"] * place_loss(helpers, tapped, batch)
        total = total + losses["answer"] + losses["place"]
    with torch.no_grad():
        shown = batch["class"] > 0
        lettered = batch["letter"] > 0
        told = parts["letter"].view(*batch["letter"].shape, 27).argmax(-1)
        seen = parts["class"].argmax(-1)
        losses["%class"] = (seen == batch["class"])[shown].float().mean().nan_to_num(0.)
        losses["%letter"] = (told == batch["letter"])[lettered].float().mean().nan_to_num(0.)
    return total, losses


def learning_rate(pictures, total, step, peak):
    """Warm-up, a flat stretch, then a straight fall to 3 percent over the last third."""
    warm = min(1., (step + 1) / 150)
    return peak * warm * max(.03, min(1., (1 - pictures / total) * 3))


class Trainer:
    def __init__(self, options):
        self.options = options
        torch.manual_seed(options.seed)
        torch.set_num_threads(options.threads)
        torch.set_flush_denormal(True)
        self.packer = data.Packer()
        vocab = data.tiny_tokenizer.padded_size(self.packer.tokenizer)
        self.table = soft_targets(self.packer, vocab)
        self.model, self.helpers = TinyModel(vocab), Helpers()
        self.average = TinyModel(vocab)
        self.average.load_state_dict(self.model.state_dict())
        named = [*self.model.named_parameters(), *self.helpers.named_parameters()]
        matrices = [p for name, p in named if p.dim() == 2 and ("blocks" in name or "layers" in name)]
        taken = {id(p) for p in matrices}
        decayed = [p for _, p in named if p.dim() >= 2 and id(p) not in taken]
        plain = [p for _, p in named if p.dim() < 2]
        self.parameters = matrices + decayed + plain
        self.muon = muon.Muon(matrices, lr=1e-3, weight_decay=.03)
        self.optimizer = torch.optim.AdamW(
            [{"params": decayed, "weight_decay": .03}, {"params": plain, "weight_decay": 0.}],
            lr=1e-3, betas=(.9, .96), fused=True)
        self.step, self.pictures, self.spent, self.smooth = 0, 0, 0., {}
        STATE.mkdir(parents=True, exist_ok=True)
        if options.resume:
            self.load(STATE / options.resume)

    def load(self, path):
        state = torch.load(path, weights_only=True)
        for part in ("model", "helpers", "average"):
            getattr(self, part).load_state_dict(state[part])
        if "muon" in state:
            self.optimizer.load_state_dict(state["optimizer"])
            self.muon.load_state_dict(state["muon"])
        self.step, self.pictures, self.spent = (state[k] for k in ("step", "pictures", "spent"))

    def save(self):
        state = {part: getattr(self, part).state_dict()
                 for part in ("model", "helpers", "average", "optimizer", "muon")}
        temporary = STATE / "state.tmp"
        torch.save(state | {"step": self.step, "pictures": self.pictures, "spent": self.spent}, temporary)
        temporary.rename(STATE / "state.pt")

    def batches(self, with_text, mix):
        options = self.options
        source = data.Batches(options.seed * 1000003 + self.step, options.batch, mix,
                              5 if with_text else 0)
        return iter(torch.utils.data.DataLoader(source, batch_size=None, num_workers=1,
                                                prefetch_factor=6))

    def update(self, batch, with_text):
        with torch.autocast("cpu", torch.bfloat16):
            total, losses = step_loss(self.model, self.helpers, batch, self.table, with_text)
        self.optimizer.zero_grad(set_to_none=True)
        total.backward()
        nn.utils.clip_grad_norm_([p for p in self.parameters if p.grad is not None], 1.)
        rate = learning_rate(self.pictures, self.options.pictures, self.step, self.options.rate)
        for optimizer in (self.optimizer, self.muon):
            for group in optimizer.param_groups:
                group["lr"] = rate
            optimizer.step()
        keep = min(.998, (self.step + 1) / (self.step + 20))
        with torch.no_grad():
            torch._foreach_lerp_(list(self.average.parameters()), list(self.model.parameters()),
                                 1 - keep)
        self.step += 1
        self.pictures += len(batch["patches"])
        for name, value in losses.items():
            value = value.item()
            if name[0] != "%" or value > 0:
                self.smooth[name] = .97 * self.smooth.get(name, value) + .03 * value
        return rate

    def run(self):
        options, started, before = self.options, time.time(), self.spent
        last_log = last_save = last_probe = started
        logged, stage, stream = self.pictures, None, None
        while self.pictures < options.pictures:
            now_due = [s for s in STAGES if s[0] <= self.pictures][-1]
            if stage != now_due:
                stage, stream = now_due, self.batches(*now_due[1:])
                print(f"{self.pictures} pictures: {stage}", flush=True)
            rate = self.update(next(stream), stage[1])
            now = time.time()
            self.spent = before + now - started
            if now - last_log > 30:
                losses = " ".join(f"{k} {v:.3f}" for k, v in self.smooth.items())
                print(f"{self.spent / 60:6.1f} min {self.pictures} pictures, lr {rate:.1e}, "
                      f"{(self.pictures - logged) / (now - last_log):.1f} a second | {losses}", flush=True)
                last_log, logged = now, self.pictures
            if now - last_save > 150:
                self.save()
                last_save = now
            if stage[1] and now - last_probe > options.probe_minutes * 60:
                print(probe.table(self.average, self.packer), flush=True)
                last_probe = time.time()
        self.save()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--pictures", type=int, default=PICTURES, help="to train on, in all")
    parser.add_argument("--batch", type=int, default=24)
    parser.add_argument("--rate", type=float, default=1.2e-3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--probe-minutes", type=float, default=8)
    parser.add_argument("--resume", nargs="?", const="state.pt", help="file in build/tiny/")
    Trainer(parser.parse_args()).run()


if __name__ == "__main__":
    main()

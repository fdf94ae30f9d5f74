"""Muon: momentum whose matrix steps are made orthogonal by five Newton-Schulz iterations.

Steps are scaled to the size of AdamW's (0.2 * sqrt(longer side)), so both share one learning rate.
Matrices of one shape are handled together. The method is Keller Jordan's; see
https://kellerjordan.github.io/posts/muon/.
"""
from collections import defaultdict

import torch


def orthogonal(g):
    """Nearest semi-orthogonal matrices of [n, rows, columns], roughly; bfloat16 is exact enough."""
    a, b, c = 3.4445, -4.7750, 2.0315
    tall = g.shape[1] > g.shape[2]
    x = (g.mT if tall else g).bfloat16()
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
    for _ in range(5):
        gram = x @ x.mT
        x = a * x + torch.baddbmm(b * gram, gram, gram, beta=1, alpha=c) @ x
    return x.mT if tall else x


class Muon(torch.optim.Optimizer):
    """`split` names how many square parts a stacked matrix (qkv) has, by parameter id."""

    def __init__(self, parameters, lr, momentum=.95, weight_decay=0.):
        super().__init__(parameters, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            groups = defaultdict(list)
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                state = self.state[parameter]
                if "momentum" not in state:
                    state["momentum"] = torch.zeros_like(parameter)
                held = state["momentum"].lerp_(parameter.grad, 1 - group["momentum"])
                step = parameter.grad.lerp(held, group["momentum"])
                rows, columns = step.shape
                parts = 3 if rows == 3 * columns else 1  # q, k and v stacked
                for one, where in zip(step.chunk(parts), parameter.chunk(parts)):
                    groups[one.shape].append((one, where))
            for shape, members in groups.items():
                steps = orthogonal(torch.stack([one for one, _ in members]))
                size = .2 * max(shape) ** .5
                for step, (_, where) in zip(steps, members):
                    where.mul_(1 - group["lr"] * group["weight_decay"])
                    where.sub_(step, alpha=group["lr"] * size)

"""tests/fixtures/sampler: what mlx-vlm's filters keep, and its penalties make of logits."""

import shutil
import sys
from pathlib import Path

import mlx.core as mx
import numpy as np
from mlx_vlm import sample_utils

from rows import made_with, write_rows

SIZE = 48


def logits():
    """name -> logits: bell-shaped, one clear winner, equal values, all equal, far apart."""
    rng = np.random.default_rng(11)
    bell = rng.standard_normal(SIZE) * 2
    peaked = bell.copy()
    peaked[17] = 12
    return {
        "bell": bell,
        "peaked": peaked,
        "equal_values": np.round(bell),
        "flat": np.zeros(SIZE),
        "far_apart": bell * 40,
    }


FILTERS = [
    {"top_p": 0.9},
    {"top_p": 0.5},
    {"top_p": 0.1},
    {"top_p": 1e-6},
    {"top_p": 0.999},
    {"top_p": 1.0},
    {"min_p": 0.05},
    {"min_p": 0.3},
    {"min_p": 1.0},
    {"min_p": 1e-6},
    {"top_k": 1},
    {"top_k": 5},
    {"top_k": 47},
    {"top_p": 0.9, "min_p": 0.1},
    {"top_p": 0.9, "top_k": 3},
    {"min_p": 0.02, "top_k": 10},
    {"top_p": 0.8, "min_p": 0.05, "top_k": 4},
    {"top_p": 0.8, "min_p": 0.05, "top_k": 40},
]
TEMPERATURES = [1.0, 0.7, 1.5, 0.001]
HISTORY = [3, 5, 3, 9, 11, 3, 40, 41, 42, 43, 44, 45, 46, 47, 0, 1, 2, 6, 7, 8, 10, 12, 3]
PENALTIES = [
    {"logit_bias": {"3": 5.0, "17": -100.0, "40": 0.25}},
    {"repetition_penalty": 1.3},
    {"repetition_penalty": 0.8},
    {"repetition_penalty": 1.0},
    {"repetition_penalty": 1.3, "repetition_context_size": 4},
    {"presence_penalty": 0.5},
    {"presence_penalty": -0.5},
    {"presence_penalty": 2.0, "presence_context_size": 3},
    {"frequency_penalty": 0.5},
    {"frequency_penalty": -0.25},
    {"frequency_penalty": 0.5, "frequency_context_size": 2},
    {
        "logit_bias": {"3": 2.0},
        "repetition_penalty": 1.5,
        "presence_penalty": 0.5,
        "frequency_penalty": 0.25,
    },
    {"presence_penalty": 0.0, "frequency_penalty": 0.0},
]


def filtered(values, options, temperature):
    """What reaches the final draw, and the probabilities it draws with."""
    seen = []
    original = sample_utils.categorical_sampling
    sample_utils.categorical_sampling = lambda logprobs, temp: seen.append(
        (logprobs, temp)
    ) or original(logprobs, temp)
    row = mx.array(values[None].astype(np.float32))
    logprobs = row - mx.logsumexp(row, axis=-1, keepdims=True)
    mx.eval(sample_utils.make_sampler(temp=temperature, **options)(logprobs))
    sample_utils.categorical_sampling = original
    masked, temp = seen[0]
    kept = [int(index) for index in np.flatnonzero(np.isfinite(np.array(masked[0])))]
    scaled = np.array(masked[0], np.float64)[kept] / temp
    weights = np.exp(scaled - scaled.max())
    return {
        "kept": kept,
        "probabilities": [round(float(value), 7) for value in weights / weights.sum()],
    }


def tied_at_the_cut(values, options):
    """Which of equal values top_k keeps is the sorting routine's whim."""
    count = options.get("top_k", 0)
    ordered = np.sort(values)[::-1]
    return 0 < count < values.size and ordered[count - 1] == ordered[count]


def penalised(values, options):
    keywords = dict(options)
    if "logit_bias" in keywords:
        keywords["logit_bias"] = {
            int(token): bias for token, bias in keywords["logit_bias"].items()
        }
    row = mx.array(values[None].astype(np.float32))
    for processor in sample_utils.make_logits_processors(**keywords):
        row = processor(mx.array(HISTORY), row)
    return [round(float(value), 5) for value in np.array(row[0])]


def main(root):
    folder = Path(root) / "sampler"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    vectors = {name: np.round(values, 4) for name, values in logits().items()}
    filters = [
        {
            "logits": name,
            "temperature": TEMPERATURES[index % len(TEMPERATURES)],
            **options,
            **filtered(values, options, TEMPERATURES[index % len(TEMPERATURES)]),
        }
        for name, values in vectors.items()
        for index, options in enumerate(FILTERS)
        if not tied_at_the_cut(values, options)
    ]
    penalties = [
        {"logits": "bell", **options, "expected": penalised(vectors["bell"], options)}
        for options in PENALTIES
    ]

    write_rows(
        folder / "cases.json",
        {
            "made_with": made_with("mlx", "mlx-vlm"),
            "history": HISTORY,
            "logits": {name: values.tolist() for name, values in vectors.items()},
            "filters": filters,
            "penalties": penalties,
        },
    )
    print(f"{len(filters)} filters, {len(penalties)} penalties")


if __name__ == "__main__":
    main(sys.argv[1])

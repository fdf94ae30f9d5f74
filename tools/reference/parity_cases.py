"""Runs the reference on a checkpoint and a request, and writes down each stage of its way."""

import json
from pathlib import Path

import mlx.core as mx
import numpy as np
from mlx.utils import tree_map
from mlx_vlm import generate
from mlx_vlm.generate.ar import generate_step
from mlx_vlm.generate.dispatch import _prepare_generation_inputs
from mlx_vlm.models import cache
from mlx_vlm.prompt_utils import apply_chat_template
from mlx_vlm.utils import load
from PIL import Image, ImageDraw
from safetensors.numpy import save_file
from transformers.image_processing_utils import BaseImageProcessor

from rows import made_with
from tiny_checkpoint import write_json

GREEDY_TOKENS = 16
QUESTIONS = [
    "What is this?",
    "How many?",
    "Where is the cat?",
    "Describe the picture.",
    "Which colour is it?",
    "Is there a dog?",
    "What is left of the circle?",
    "Read the text.",
    "猫はどこ?",
    "Где дом?",
    "Où est l'été?",
    "List every thing you see.",
    "What number is on the table?",
    "Why?",
    "Is it a bird or a cat?",
    "Point at the green button.",
    "Who sat on the mat?",
    "Say one word.",
    "Tell me about the window.",
    "Count the birds: 1 2 3",
    "What is at the top right?",
    "Hello!",
    "Answer with the colour and the number.",
    "What do the two show?",
]
# Cases about pictures: hidden states are left out.
ODD_SIZES = ("tiny_picture", "wide_picture", "tall_picture")
EMBEDDING_FIELDS = (
    "position_ids",
    "rope_deltas",
    "visual_pos_masks",
    "deepstack_visual_embeds",
)


def without_padding(call):
    """mlx-vlm's llava hands the tokenizer's padding= to the picture processor, which refuses."""

    def ignoring_it(self, images, *args, padding=None, **keywords):
        return call(self, images, *args, **keywords)

    return ignoring_it


BaseImageProcessor.__call__ = without_padding(BaseImageProcessor.__call__)


class Reference:
    """A loaded checkpoint."""

    def __init__(self, folder):
        self.model, self.processor = load(
            str(folder), processor_config={"trust_remote_code": False}
        )
        self.config = json.loads((Path(folder) / "config.json").read_text())

    def prepare(self, messages, images):
        built = apply_chat_template(
            self.processor, self.config, messages, num_images=len(images), return_messages=True
        )
        prompt = apply_chat_template(self.processor, self.config, messages, num_images=len(images))
        ids, pixels, mask, extra = _prepare_generation_inputs(
            self.model, self.processor, prompt, [str(image) for image in images], None, None, {}
        )
        return built, prompt, ids, pixels, mask, extra

    def as_float32(self):
        """The same weights in fp32 arithmetic: the distance is the lower precision's noise."""
        self.model.update(
            tree_map(
                lambda a: a.astype(mx.float32) if mx.issubdtype(a.dtype, mx.floating) else a,
                self.model.parameters(),
            )
        )
        return self

    def stages(self, ids, pixels, mask, extra):
        """Embeddings, then the language model layer by layer: the path that generate() takes."""
        features = []
        with recording(type(connector_of(self.model)), features):
            embedded = self.model.get_input_embeddings(ids, pixels, mask=mask, **extra)
        language_model = self.model.language_model
        keywords = {
            name: getattr(embedded, name)
            for name in EMBEDDING_FIELDS
            if getattr(embedded, name) is not None
        }
        hidden = []
        with recording(type(body_of(language_model).layers[0]), hidden):
            logits = language_model(
                ids,
                inputs_embeds=embedded.inputs_embeds,
                cache=cache.make_prompt_cache(language_model),
                **keywords,
            ).logits
        found = {
            "input_ids": ids[0],
            "inputs_embeds": embedded.inputs_embeds[0],
            "logits": logits[0, -1],
        }
        positions = embedded.position_ids
        if positions is None:
            found["position_ids"] = mx.arange(ids.shape[1])
        else:
            found["position_ids"] = mx.broadcast_to(
                positions.reshape(-1, ids.shape[1]), (3, ids.shape[1])
            )
        if pixels is not None:
            found["pixel_values"] = pixels[0] if pixels.ndim == 5 else pixels
            merged = features[0][0] if isinstance(features[0], tuple) else features[0]
            found["image_features"] = merged.reshape(-1, merged.shape[-1])
        if "image_grid_thw" in extra:
            found["image_grid_thw"] = extra["image_grid_thw"]
        for index, value in enumerate(hidden):
            found[f"hidden.{index}"] = value[0]
        return {name: plain(value) for name, value in found.items()}

    def greedy(self, ids, pixels, mask, extra, chunk):
        """Greedy tokens, and the narrowest win in standard deviations of the logits."""
        tokens, margins = [], []
        for token, logprobs in generate_step(
            ids,
            self.model,
            pixels,
            mask,
            max_tokens=GREEDY_TOKENS,
            temperature=0.0,
            prefill_step_size=chunk,
            **extra,
        ):
            tokens.append(int(token))
            values = np.sort(plain(logprobs))
            margins.append(float((values[-1] - values[-2]) / values.std()))
        return tokens, min(margins)


def test_picture(width, height, seed):
    """A gradient, a disc and a little noise."""
    rng = np.random.default_rng(seed)
    down, across = np.mgrid[0:height, 0:width]
    pixels = np.stack(
        [
            across * 255 / max(width - 1, 1),
            down * 255 / max(height - 1, 1),
            np.full((height, width), rng.integers(40, 215)),
        ],
        -1,
    )
    image = Image.fromarray(
        (pixels + rng.integers(-12, 13, pixels.shape)).clip(0, 255).astype(np.uint8)
    )
    colour = tuple(int(value) for value in rng.integers(0, 256, 3))
    ImageDraw.Draw(image).ellipse(
        [width * 0.2, height * 0.3, width * 0.7, height * 0.8], fill=colour
    )
    return image


def user(text):
    return [{"role": "user", "content": text}]


def two_turns(text):
    return [
        {"role": "system", "content": "Answer with one word."},
        {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "What is this?"}]},
        {"role": "assistant", "content": "A cat."},
        {"role": "user", "content": text},
    ]


class recording:
    """While it is open, what instances of a class return is also appended to a list."""

    def __init__(self, kind, into):
        self.kind, self.into, self.original = kind, into, kind.__call__

    def __enter__(self):
        def call(module, *args, **keywords):
            result = self.original(module, *args, **keywords)
            self.into.append(result)
            return result

        self.kind.__call__ = call

    def __exit__(self, *_):
        self.kind.__call__ = self.original


def plain(value):
    if mx.issubdtype(value.dtype, mx.floating):
        return np.array(value.astype(mx.float32))
    return np.array(value.astype(mx.int32))


def relative(value, expected):
    return float(np.abs(value - expected).max() / max(np.abs(expected).max(), 1e-30))


def noise(found, exact):
    """How far the reference's lower precision is from fp32 arithmetic, as shares of the stages."""
    return {name: round(relative(found[name], exact[name]), 4) for name in exact if name in found}


def is_float(value):
    return value.dtype == np.float32


def best_question(references, ask, paths, enough):
    """The question whose greedy answer is the most clear-cut, or the first that wins by `enough`, so
    that rounding cannot turn it."""
    best = (0.03, None)
    tokenizer = references[0].processor.tokenizer
    plain_ids = set(range(len(tokenizer))) - set(tokenizer.added_tokens_decoder)
    pairs = [f"{first} {second}" for first in QUESTIONS[:12] for second in QUESTIONS[:12]]
    for question in QUESTIONS if len(references) == 1 else pairs:
        messages = ask(question)
        inputs = references[0].prepare(messages, paths)[2:]
        answers = [reference.greedy(*inputs, chunk=2048) for reference in references]
        tokens, margin = answers[0][0], min(margin for _, margin in answers)
        agreed = all(other == tokens for other, _ in answers)
        if agreed and len(set(tokens)) >= 4 and set(tokens) <= plain_ids and margin > best[0]:
            best = (margin, messages)
        if best[0] >= enough:
            break
    if best[1] is None:
        raise SystemExit("no question gives a clear greedy answer: change the seed")
    return best


def greedy_tokens(reference, prompt, paths, inputs):
    """The same through generate_step with three chunk sizes, and through generate."""
    answers = [reference.greedy(*inputs, chunk=chunk)[0] for chunk in (2048, 3, None)]
    result = generate(
        reference.model,
        reference.processor,
        prompt,
        [str(path) for path in paths] or None,
        max_tokens=GREEDY_TOKENS,
        temperature=0.0,
    )
    answers.append(list(result.token_ids))
    if any(answer != answers[0] for answer in answers):
        raise SystemExit(f"greedy tokens depend on the way they are made: {answers}")
    return np.array(answers[0], np.int32)


def write_case(folder, checkpoint, name, ask, pictures, seed, brief=False, enough=np.inf):
    """cases/<name>: the pictures, request.json, stages.safetensors and manifest.json. A brief one
    has no hidden states."""
    case = folder / "cases" / name
    case.mkdir(parents=True)
    for file, picture in pictures.items():
        picture.save(case / file, optimize=True)
    paths = [case / file for file in pictures]
    source = folder / "checkpoints" / checkpoint
    reference = Reference(source)
    dtype = dtype_of(reference.model)
    precise = None if dtype == "float32" else Reference(source).as_float32()
    references = [reference] + [precise] * (precise is not None)
    margin, messages = best_question(references, ask, paths, enough)
    request = {
        "checkpoint": f"../../checkpoints/{checkpoint}",
        "messages": messages,
        "images": list(pictures),
        "max_tokens": GREEDY_TOKENS,
        "temperature": 0,
    }
    write_json(case / "request.json", request)
    built, prompt, *inputs = reference.prepare(messages, paths)
    found = reference.stages(*inputs)
    found["greedy"] = greedy_tokens(reference, prompt, paths, inputs)
    exact = {}
    if precise:
        exact = {key: value for key, value in precise.stages(*inputs).items() if is_float(value)}
        exact.pop("pixel_values", None)
    if precise or brief or name.endswith(ODD_SIZES):
        found = without_hidden(found)
    if brief:
        exact = without_hidden(exact)
    stored = {**found, **{f"exact.{key}": value for key, value in exact.items()}}
    save_file(
        {key: np.ascontiguousarray(value) for key, value in stored.items()},
        case / "stages.safetensors",
    )
    text = reference.processor.tokenizer.decode(found["greedy"].tolist())
    manifest = {
        "checkpoint": checkpoint,
        "dtype": dtype,
        "seed": seed,
        "made_with": made_with("mlx", "mlx-vlm", "transformers", "tokenizers", "pillow", "numpy"),
        "messages": built,
        "prompt": prompt,
        "prompt_tokens": int(found["input_ids"].size),
        "text": text,
        "smallest_greedy_margin": round(margin, 3),
        "shapes": {key: list(value.shape) for key, value in found.items()},
        "reference_noise": noise(found, exact),
    }
    write_json(case / "manifest.json", manifest)
    print(f"{folder.name} {name}: margin {margin:.3f}, {text!r}")


def without_hidden(stages):
    return {key: stages[key] for key in stages if not key.startswith(("hidden", "inputs_embeds"))}


def connector_of(model):
    """The module whose results are the features of all pictures; a tower that merges by itself may
    have more to tell."""
    for name in ("connector", "multi_modal_projector"):
        if hasattr(model, name):
            return getattr(model, name)
    return model.vision_tower


def body_of(language_model):
    """What has the layers: some families have it at the root."""
    return getattr(language_model, "model", language_model)


def dtype_of(model):
    text = body_of(model.language_model).layers[0].input_layernorm.weight
    return str(text.dtype).replace("mlx.core.", "")

"""Runs the reference on a checkpoint and a request, and writes down each stage of its way."""

import json
import shutil
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
from transformers.image_processing_utils import BaseImageProcessor

import case_files
from case_files import GREEDY_TOKENS, test_picture, two_turns, user  # noqa: F401
from tiny_checkpoint import write_hugging_face, write_mlx

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

    packages = ("mlx", "mlx-vlm", "transformers", "tokenizers", "pillow", "numpy")
    exact = False

    def __init__(self, folder):
        self.model, self.processor = load(
            str(folder), processor_config={"trust_remote_code": False}
        )
        self.config = json.loads((Path(folder) / "config.json").read_text())
        self.tokenizer = self.processor.tokenizer
        self.dtype = dtype_of(self.model)

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

    def greedy(self, ids, pixels, mask, extra, chunk, least=0):
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
            if margins[-1] < least:
                break
        return tokens, min(margins)

    def greedy_tokens(self, prompt, paths, inputs):
        """The same through generate_step with three chunk sizes, and through generate."""
        answers = [self.greedy(*inputs, chunk=chunk)[0] for chunk in (2048, 3, None)]
        result = generate(
            self.model,
            self.processor,
            prompt,
            [str(path) for path in paths] or None,
            max_tokens=GREEDY_TOKENS,
            temperature=0.0,
        )
        answers.append(list(result.token_ids))
        if any(answer != answers[0] for answer in answers):
            raise SystemExit(f"greedy tokens depend on the way they are made: {answers}")
        return np.array(answers[0], np.int32)


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


def write_case(folder, checkpoint, name, ask, pictures, seed, brief=False):
    """A case of a checkpoint in folder/checkpoints, answered by mlx-vlm."""
    source = folder / "checkpoints" / checkpoint
    references = [Reference(source)]
    if references[0].dtype != "float32":
        references.append(Reference(source).as_float32())
    case_files.write_case(folder, checkpoint, name, ask, pictures, seed, references, brief)


def write_cases(folder, cases, seed):
    """Hidden states are kept in the first case of each checkpoint."""
    seen = set()
    for name, (checkpoint, ask, pictures) in cases.items():
        write_case(folder, checkpoint, name, ask, pictures, seed, brief=checkpoint in seen)
        seen.add(checkpoint)


def write_family(folder, config, files, to_hf_name, cases, seed, released=None):
    """hf-f32, the same in 4 bits, and the cases."""
    shutil.rmtree(folder, ignore_errors=True)
    source = folder / "checkpoints" / "hf-f32"
    write_hugging_face(source, config, files, to_hf_name, seed, released=released)
    write_mlx_4bit(source, folder / "checkpoints" / "mlx-4bit")
    write_cases(folder, cases, seed)


def write_mlx_4bit(source, folder):
    write_mlx(source, folder, dtype="bfloat16", quantize=True, q_group_size=32, q_bits=4)


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

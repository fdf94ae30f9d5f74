"""Runs Hugging Face's own models on tiny checkpoints: for families that mlx-vlm answers wrongly.

Runs in tools/tiny's environment, which has torch; mlx is not needed.
"""

import json
import re
import shutil
import zlib
from typing import Callable, NamedTuple

import numpy as np
import torch
import transformers
from PIL import Image
from safetensors.numpy import save_file
from safetensors.torch import save_file as save_torch_file
from transformers import (
    AutoConfig,
    AutoImageProcessor,
    AutoTokenizer,
    LogitsProcessor,
    PreTrainedTokenizerFast,
)

import case_files
from case_files import GREEDY_TOKENS
from rows import write_json

BITS = 4
SPREAD = 0.6  # so that some tokens win clearly, as they do in a trained model


def random_values(name, shape, seed):
    """Norms lie about 1, biases, gates and tables are not zero, no two rows of the head are alike."""
    rng = np.random.default_rng([seed, zlib.crc32(name.encode())])
    values = rng.standard_normal(shape)
    if len(shape) < 2:
        ones = name.endswith("weight") and any(part in name for part in ("norm", "mlp1.0", ".ls"))
        values = 1 + 0.1 * values if ones else 0.3 * values
    elif any(part in name for part in ("position_embedding", "class_embedding", "_GN")):
        values = 0.5 * values
    else:
        values = values * 1.3 / np.sqrt(np.prod(shape[1:]))
        if name.endswith(("embed_tokens.weight", "lm_head.weight")) and "vision" not in name:
            values *= np.exp(SPREAD * rng.standard_normal((shape[0], 1)))
        if "o_proj" in name or "down_proj" in name:
            values *= 3  # layers matter more than the token itself
    return values.astype(np.float32)


def built(config, model_class):
    """The model that Hugging Face builds for the text of a config.json."""
    kind = AutoConfig.for_model(config["model_type"])
    made = type(kind).from_dict(json.loads(json.dumps(config)))
    made._attn_implementation = "eager"
    return model_class(made).eval()


def write_sidecars(folder, config, sidecars):
    folder.mkdir(parents=True)
    for name, content in {"config.json": config, **sidecars}.items():
        if isinstance(content, str):
            (folder / name).write_text(content)
        else:
            write_json(folder / name, content)


def as_they_are(tensors):
    return tensors


class Checkpoint(NamedTuple):
    """What write_family() makes a folder of. `model` builds one for the config; without it the model
    before takes the values of this checkpoint, which then is one in 4 bits. A released_name of None
    is of a weight that is tied to another; `arranged` joins tensors that checkpoints hold as one."""

    config: dict
    sidecars: dict
    released_name: Callable
    model: Callable | None = None
    quantized: bool = False
    arranged: Callable = as_they_are
    values: Callable = random_values
    group: int = 32


def write_family(folder, checkpoints, cases, seed, reference_class):
    """Every checkpoint with its cases. Hidden states are kept in the very first."""
    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    shutil.rmtree(folder, ignore_errors=True)
    model, brief = None, False
    for name, checkpoint in checkpoints.items():
        if checkpoint.model:
            model = checkpoint.model(checkpoint.config)
            randomise(model, checkpoint, seed)
        write = write_mlx_4bit if checkpoint.quantized or not checkpoint.model else write_bfloat16
        source = folder / "checkpoints" / name
        write(source, checkpoint, model)
        reference = reference_class(source, model)
        for case, (own, ask, pictures) in cases.items():
            if own == name:
                write_case(folder, name, case, ask, pictures, seed, reference, brief)
                brief = True


def write_case(folder, checkpoint, name, ask, pictures, seed, reference, brief=False):
    case_files.write_case(folder, checkpoint, name, ask, pictures, seed, [reference], brief)


def randomise(model, checkpoint, seed):
    """Random weights that bfloat16 can say."""
    values = {}
    for name, parameter in model.state_dict().items():
        there = checkpoint.released_name(name)
        if there is not None:
            value = checkpoint.values(there, tuple(parameter.shape), seed)
            values[name] = torch.tensor(value).bfloat16().float()
    load(model, values)


def write_bfloat16(folder, checkpoint, model):
    """Under the names of released checkpoints."""
    write_sidecars(folder, checkpoint.config, checkpoint.sidecars)
    tensors = {}
    for name, parameter in model.state_dict().items():
        there = checkpoint.released_name(name)
        if there is not None:
            tensors[there] = parameter.bfloat16()
    arranged = checkpoint.arranged(tensors).items()
    tensors = {name: value.contiguous() for name, value in arranged}
    save_torch_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def quantised(weight, group, bits=BITS):
    """MLX's affine layout: words of little-endian bits, a scale and a bias for each group; and the
    values that it says."""
    rows, columns = weight.shape
    grouped = weight.reshape(rows, -1, group)
    low = grouped.min(-1)
    scales = ((grouped.max(-1) - low) / (2**bits - 1)).astype(np.float16)
    biases = low.astype(np.float16)
    scale, bias = (a.astype(np.float32)[..., None] for a in (scales, biases))
    numbers = np.clip(np.rint((grouped - bias) / scale), 0, 2**bits - 1).astype(np.uint32)
    each = (numbers.reshape(rows, columns)[..., None] >> np.arange(bits, dtype=np.uint32)) & 1
    packed = np.packbits(each.reshape(rows, -1).astype(np.uint8), axis=1, bitorder="little")
    return packed.view("<u4"), scales, biases, (numbers * scale + bias).reshape(rows, columns)


def write_mlx_4bit(folder, checkpoint, model):
    """As mlx-community quantises: the decoder's matrices in 4 bits where their rows are long enough,
    the rest in half precision. The model is left with the values that the file holds."""
    quantization = {"group_size": checkpoint.group, "bits": BITS, "mode": "affine"}
    both = {"quantization": quantization, "quantization_config": quantization}
    write_sidecars(folder, {**checkpoint.config, **both}, checkpoint.sidecars)
    tensors, values = {}, {}
    for name, parameter in model.state_dict().items():
        there, weight = checkpoint.released_name(name), parameter.numpy()
        if there is None:
            continue
        sees = any(part in there for part in ("vision", "projector", "mlp1"))
        if not sees and weight.ndim == 2 and weight.shape[1] % checkpoint.group == 0:
            path = there.removesuffix(".weight")
            packed, scales, biases, weight = quantised(weight, checkpoint.group)
            tensors |= {there: packed, f"{path}.scales": scales, f"{path}.biases": biases}
        else:
            half = weight.astype(np.float16)
            tensors[there] = np.moveaxis(half, 1, -1) if half.ndim == 4 and "patch" in there else half
            weight = half.astype(np.float32)
        values[name] = torch.tensor(weight)
    arranged = checkpoint.arranged(tensors).items()
    tensors = {name: np.ascontiguousarray(value) for name, value in arranged}
    save_file(tensors, folder / "model.safetensors", metadata={"format": "mlx"})
    load(model, values)


def load(model, values):
    """Weights that the model ties by itself would overwrite each other."""
    model.load_state_dict(values, strict=False)
    state = model.state_dict()
    for name, value in values.items():
        assert torch.equal(state[name], value), f"{name} is tied to another weight"


class recording:
    """While it is open, the first output of each module is kept."""

    def __init__(self, modules):
        self.found = []
        self.hooks = [module.register_forward_hook(self.keep) for module in modules]

    def keep(self, module, inputs, output):
        self.found.append(output[0] if isinstance(output, tuple) else output)

    def __enter__(self):
        return self.found

    def __exit__(self, *_):
        for hook in self.hooks:
            hook.remove()


class Watch(LogitsProcessor):
    """Keeps by how much each token wins, in standard deviations of the logits; stops at a win below
    `least`."""

    def __init__(self, least):
        self.least, self.margins = least, []

    def __call__(self, input_ids, scores):
        self.margins.append(margin_of(scores[0]))
        return scores

    def stops(self, input_ids, scores, **_):
        return torch.full((1,), self.margins[-1] < self.least)


def margin_of(logits):
    best = logits.topk(2).values
    return float((best[0] - best[1]) / logits.std())


class TorchReference:
    """A model with the weights of a checkpoint. A family derives from it."""

    packages = ("torch", "transformers", "tokenizers", "pillow", "numpy")
    processor_class = None

    exact = True  # the model's arithmetic is fp32, the checkpoint's weights are not
    images_first = False
    strings_but_user = False  # whether only users' content is a list

    def __init__(self, folder, model):
        self.model = model
        config = json.loads((folder / "config.json").read_text())
        self.dtype = "quantised" if "quantization" in config else "bfloat16"
        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        processor = json.loads((folder / "processor_config.json").read_text())
        processor.pop("processor_class", None)
        self.processor = self.processor_class(
            AutoImageProcessor.from_pretrained(folder, backend="pil"), self.tokenizer, **processor
        )

    # What families differ in.
    def pixel_values(self, inputs):
        raise NotImplementedError

    def image_features(self, inputs):
        raise NotImplementedError

    def prepare(self, messages, paths):
        content = with_pictures(messages, len(paths), self.images_first)
        for message in content:
            if self.strings_but_user and message["role"] != "user":
                message["content"] = message["content"][0]["text"]
        prompt = self.tokenizer.apply_chat_template(
            content, add_generation_prompt=True, tokenize=False
        )
        images = [Image.open(path).convert("RGB") for path in paths] or None
        bos = self.tokenizer.bos_token
        inputs = self.processor(
            images=images,
            text=prompt,
            return_tensors="pt",
            add_special_tokens=not (bos and prompt.startswith(bos)),
        )
        return content, prompt, inputs

    def stages(self, inputs):
        inner = self.model.model
        embeds = []
        hook = inner.language_model.register_forward_pre_hook(
            lambda _, args, keywords: embeds.append(keywords["inputs_embeds"]), with_kwargs=True
        )
        with recording(inner.language_model.layers) as hidden, torch.no_grad():
            logits = self.model(**inputs, use_cache=False).logits[0, -1]
        hook.remove()
        length = inputs["input_ids"].shape[1]
        found = {"inputs_embeds": embeds[0][0], "logits": logits}
        if "pixel_values" in inputs:
            found["image_features"] = self.image_features(inputs)
            found["pixel_values"] = self.pixel_values(inputs)
        found |= {f"hidden.{i}": value.reshape(length, -1) for i, value in enumerate(hidden)}
        found = {name: value.detach().numpy() for name, value in found.items()}
        found["input_ids"] = inputs["input_ids"][0].numpy().astype(np.int32)
        found["position_ids"] = np.arange(length, dtype=np.int32)
        return found

    def greedy(self, inputs, chunk=None, least=0):
        watch = Watch(least)
        answer = self.model.generate(
            **inputs,
            max_new_tokens=GREEDY_TOKENS,
            do_sample=False,
            logits_processor=[watch],
            stopping_criteria=[watch.stops],
        )
        return answer[0, inputs["input_ids"].shape[1] :].tolist(), min(watch.margins)

    def greedy_tokens(self, prompt, paths, inputs):
        return np.array(self.greedy(*inputs)[0], np.int32)


class ComposedReference(TorchReference):
    """For families that transformers does not have: a module with a `decoder` of its own and
    `features(*picture)`, joined by a script as the checkpoint's code joins them."""

    packages = ("torch", "torchvision", "transformers", "tokenizers", "pillow", "numpy")

    def __init__(self, folder, model):
        self.model = model
        config = json.loads((folder / "config.json").read_text())
        self.dtype = "quantised" if "quantization" in config else "bfloat16"
        self.tokenizer = PreTrainedTokenizerFast.from_pretrained(folder)

    def in_pieces(self, content, marker, counts, image, starts_once=False):
        """The rendered prompt, and ids with each marker replaced by so many of `image`. A text that
        `starts_once` has the token of its beginning before the first piece only."""
        prompt = self.tokenizer.apply_chat_template(
            content, add_generation_prompt=True, tokenize=False
        )
        ids, shown = [], []
        for i, piece in enumerate(re.split(marker, prompt)):
            count = counts[i - 1] if i > 0 else 0
            text = self.tokenizer(piece, add_special_tokens=i == 0 or not starts_once).input_ids
            ids += [image] * count + text
            shown += [True] * count + [False] * len(text)
        return prompt, {"ids": ids, "shown": shown}

    def embeds(self, inputs):
        embeds = self.model.decoder.get_input_embeddings()(torch.tensor(inputs["ids"]))
        features = [self.model.features(*picture) for picture in inputs["pictures"]]
        if features:
            at = torch.tensor(inputs["shown"])[:, None]
            embeds = embeds.masked_scatter(at, torch.cat(features))
        return embeds, features

    def stages(self, inputs):
        decoder = self.model.decoder
        with torch.no_grad(), recording(decoder.model.layers) as hidden:
            embeds, features = self.embeds(inputs)
            logits = decoder(inputs_embeds=embeds[None], use_cache=False).logits[0, -1]
        length = len(inputs["ids"])
        found = {"inputs_embeds": embeds, "logits": logits}
        if features:
            found["image_features"] = torch.cat(features)
            found["pixel_values"] = torch.cat([picture[0] for picture in inputs["pictures"]])
        found |= {f"hidden.{i}": value.reshape(length, -1) for i, value in enumerate(hidden)}
        found = {name: value.numpy() for name, value in found.items()}
        found["input_ids"] = np.array(inputs["ids"], np.int32)
        found["position_ids"] = np.arange(length, dtype=np.int32)
        return found

    def greedy(self, inputs, chunk=None, least=0):
        with torch.no_grad():
            embeds, _ = self.embeds(inputs)
            tokens, margins = [], []
            while len(tokens) < GREEDY_TOKENS and min(margins, default=least) >= least:
                logits = self.model.decoder(inputs_embeds=embeds[None], use_cache=False).logits
                best = logits[0, -1].argmax()[None]
                tokens.append(int(best))
                margins.append(margin_of(logits[0, -1]))
                embeds = torch.cat([embeds, self.model.decoder.get_input_embeddings()(best)])
        return tokens, min(margins)


def with_pictures(messages, count, first):
    """Every content as a list of entries, pictures that no entry names first or last in the last user
    message: the form in which Fovea hands messages to a template."""
    made = []
    for message in messages:
        content = message["content"]
        if isinstance(content, str):
            content = [{"type": "text", "text": content}]
        made.append({"role": message["role"], "content": list(content)})
        count -= sum(entry["type"] == "image" for entry in content)
    last = [message for message in made if message["role"] == "user"][-1]
    further = [{"type": "image"}] * count
    last["content"] = further + last["content"] if first else last["content"] + further
    return made

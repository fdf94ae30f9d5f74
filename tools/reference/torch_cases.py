"""Runs Hugging Face's own models on tiny checkpoints: for families that mlx-vlm answers wrongly.

Runs in tools/tiny's environment, which has torch; mlx is not needed.
"""

import json
import re
import zlib

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
    PreTrainedTokenizerFast,
)

import case_files
from case_files import GREEDY_TOKENS
from rows import write_json

GROUP, BITS = 64, 4
SPREAD = 0.6  # so that some tokens win clearly, as they do in a trained model
CLEAR = 0.25  # a margin that no rounding turns


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


def write_hugging_face(
    folder, config, sidecars, model, released_name, seed, arranged=as_they_are
):
    """Random weights in bfloat16 under the names of released checkpoints; the model gets them too.
    A name of None is of a weight that is tied to another; `arranged` joins tensors that those
    checkpoints hold as one."""
    write_sidecars(folder, config, sidecars)
    tensors, values = {}, {}
    for name, parameter in model.state_dict().items():
        there = released_name(name)
        if there is None:
            continue
        value = torch.tensor(random_values(there, tuple(parameter.shape), seed)).bfloat16()
        tensors[there], values[name] = value, value.float()
    tensors = {name: value.contiguous() for name, value in arranged(tensors).items()}
    save_torch_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    load(model, values)


def quantised(weight):
    """MLX's affine layout: words of little-endian bits, a scale and a bias for each group."""
    rows, columns = weight.shape
    grouped = weight.reshape(rows, -1, GROUP)
    low = grouped.min(-1)
    scales = ((grouped.max(-1) - low) / (2**BITS - 1)).astype(np.float16)
    biases = low.astype(np.float16)
    scale, bias = (a.astype(np.float32)[..., None] for a in (scales, biases))
    numbers = np.clip(np.rint((grouped - bias) / scale), 0, 2**BITS - 1).astype(np.uint32)
    pairs = numbers.reshape(rows, -1, 32 // BITS) << (BITS * np.arange(32 // BITS, dtype=np.uint32))
    packed = np.bitwise_or.reduce(pairs, axis=-1).astype("<u4")
    return packed, scales, biases, (numbers * scale + bias).reshape(rows, columns)


def write_mlx_4bit(folder, config, sidecars, model, mlx_name, arranged=as_they_are):
    """As mlx-community quantises: the decoder's matrices in 4 bits where their rows are long enough,
    the rest in half precision. The model is left with the values that the file holds."""
    quantization = {"group_size": GROUP, "bits": BITS, "mode": "affine"}
    config = {**config, "quantization": quantization, "quantization_config": quantization}
    write_sidecars(folder, config, sidecars)
    tensors, values = {}, {}
    for name, parameter in model.state_dict().items():
        there, weight = mlx_name(name), parameter.numpy()
        if there is None:
            continue
        sees = any(part in there for part in ("vision", "projector", "mlp1"))
        if not sees and weight.ndim == 2 and weight.shape[1] % GROUP == 0:
            path = there.removesuffix(".weight")
            packed, scales, biases, weight = quantised(weight)
            tensors |= {there: packed, f"{path}.scales": scales, f"{path}.biases": biases}
        else:
            half = weight.astype(np.float16)
            tensors[there] = np.moveaxis(half, 1, -1) if half.ndim == 4 and "patch" in there else half
            weight = half.astype(np.float32)
        values[name] = torch.tensor(weight)
    tensors = {name: np.ascontiguousarray(value) for name, value in arranged(tensors).items()}
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

    def greedy(self, inputs, chunk=None):
        answer = self.model.generate(
            **inputs,
            max_new_tokens=GREEDY_TOKENS,
            do_sample=False,
            output_logits=True,
            return_dict_in_generate=True,
        )
        tokens = answer.sequences[0, inputs["input_ids"].shape[1] :].tolist()
        margins = []
        for logits in answer.logits:
            best = logits[0].topk(2).values
            margins.append(float((best[0] - best[1]) / logits.std()))
        return tokens, min(margins)

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

    def greedy(self, inputs, chunk=None):
        with torch.no_grad():
            embeds, _ = self.embeds(inputs)
            tokens, margins = [], []
            for _ in range(GREEDY_TOKENS):
                logits = self.model.decoder(inputs_embeds=embeds[None], use_cache=False).logits
                best = logits[0, -1].topk(2)
                tokens.append(int(best.indices[0]))
                margins.append(float((best.values[0] - best.values[1]) / logits[0, -1].std()))
                row = self.model.decoder.get_input_embeddings()(best.indices[:1])
                embeds = torch.cat([embeds, row])
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


def write_case(folder, checkpoint, name, ask, pictures, seed, reference):
    """Hidden states are kept in the case that shows most, or the fixture grows."""
    brief = name != "one_picture"
    case_files.write_case(
        folder, checkpoint, name, ask, pictures, seed, [reference], brief, CLEAR
    )


def quiet():
    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()

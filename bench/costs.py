"""What a checkpoint folder costs by its shapes: bytes read for a token, operations of a prompt and
of a picture. Counted from the headers of its weights and from config.json; nothing is estimated."""
import json
import struct
from pathlib import Path

BYTES = {"F32": 4, "BF16": 2, "F16": 2, "U32": 4}
# Parts behind a tower, which see a picture's tokens rather than its patches.
LATE = ["merger", "projector", "projection", "connector", "mlp1"]


def tensors(folder):
    """name -> (dtype, shape) of every safetensors file."""
    found = {}
    for path in sorted(Path(folder).glob("*.safetensors")):
        with open(path, "rb") as file:
            size = struct.unpack("<Q", file.read(8))[0]
            header = json.loads(file.read(size))
        header.pop("__metadata__", None)
        found.update({name: (t["dtype"], t["shape"]) for name, t in header.items()})
    return found


def product(shape):
    count = 1
    for size in shape:
        count *= size
    return count


class Costs:
    def __init__(self, folder):
        self.config = json.loads((Path(folder) / "config.json").read_text())
        self.text = self.config.get("text_config") or self.config.get("llm_config") or self.config
        self.vision = self.config.get("vision_config", {})
        self.tensors = tensors(folder)
        self.file_bytes = sum(p.stat().st_size for p in Path(folder).glob("*.safetensors"))
        heads = self.text["num_attention_heads"]
        self.attention_width = heads * self.text.get("head_dim", self.text["hidden_size"] // heads)
        self.context = self.text.get("max_position_embeddings", 4096)
        self.tied = not any("lm_head." in name for name in self.tensors)
        self.nested = any(name.startswith("language_model.") for name in self.tensors)

    def is_language(self, name):
        return name.startswith("language_model.") if self.nested else "vision" not in name

    def used_of(self, name):
        """The share of a weight that one row takes part in: a few of many experts."""
        if ".switch_mlp." not in name:
            return 1
        return self.text["num_experts_per_tok"] / self.text["num_experts"]

    def weights(self, name):
        dtype, shape = self.tensors[name]
        return product(shape) * 32 // self.bits_of(name) if dtype == "U32" else product(shape)

    def bits_of(self, name):
        """A weight's own bits where config.json gives its layer some."""
        quantization = self.config.get("quantization", {})
        own = quantization.get(name.removesuffix(".weight"))
        return own["bits"] if isinstance(own, dict) else quantization["bits"]

    def language(self):
        """Without layers that look at pictures, which text alone passes."""
        across = [f".layers.{i}." for i in self.text.get("cross_attention_layers", [])]
        return [n for n in self.tensors
                if self.is_language(n) and not any(layer in n for layer in across)]

    def decode_bytes(self):
        """Weights that one token reads: all of the decoder, of its experts those that are chosen,
        and the table only where it is the head."""
        names = [n for n in self.language() if self.tied or ".embed_tokens." not in n]
        return sum(product(self.tensors[n][1]) * BYTES[self.tensors[n][0]] * self.used_of(n)
                   for n in names)

    def prefill_flops(self, tokens):
        """Products of every layer, causal attention, and the head of the last row."""
        layers = sum(self.weights(n) * self.used_of(n) for n in self.language()
                     if ".layers." in n and n.endswith("_proj.weight"))
        depth = self.text["num_hidden_layers"] - len(self.text.get("cross_attention_layers", []))
        attention = 2 * tokens * tokens * self.attention_width * depth
        head = self.text["hidden_size"] * self.text["vocab_size"]
        return 2 * layers * tokens + attention + 2 * head

    def tower_layers(self):
        """As many as there are weights of: configs leave the standard number out."""
        marks = [".layers.", ".blocks."]
        found = {(name.split(mark)[0], name.split(mark)[1].split(".")[0])
                 for name in self.tensors for mark in marks
                 if mark in name and not self.is_language(name)}
        return len(found)

    def layers_used(self):
        depth = self.tower_layers()
        if "img_processor" in self.config:  # Phi-3-Vision takes the last but one
            return depth - 1
        last = self.config.get("vision_feature_layer", -1)
        return depth + 1 + last if last < 0 else last

    def patch_embedding(self):
        """[width of the tower, values of a patch]."""
        for name, (_, shape) in self.tensors.items():
            if ("patch_embed" in name or "patch_conv" in name) and name.endswith("weight"):
                return shape[0], product(shape[1:])
        raise ValueError("expected the weight of a patch embedding but there is none")

    def vision_rows(self, image):
        """Patches of a picture, as `images` of `fovea generate --json` tells of it."""
        if "max_num_tiles" in self.vision:  # tiles are always so many, whatever the picture fills
            side = self.vision["image_size"] // self.vision["patch_size"]
            return self.vision["max_num_tiles"] * side * side
        return product(image["pixel_values"]) // self.patch_embedding()[1]

    def vision_flops(self, image):
        """Products and attention of such a picture: rows see those of their tile. Windows within it
        are counted as if there were none."""
        shape, tokens = image["pixel_values"], image["tokens"]
        width, rows = self.patch_embedding()[0], self.vision_rows(image)
        own = len(shape) == 4 and "max_num_tiles" not in self.vision
        seen = rows // shape[0] if own else rows
        if any("class_embedding" in name for name in self.tensors):
            rows, seen = rows + rows // seen, seen + 1
        used = self.layers_used()
        flops = 4 * rows * seen * width * used
        for name, (_, weight) in self.tensors.items():
            if self.is_language(name) or len(weight) < 2 or not name.endswith("weight"):
                continue
            table = "position_embedding" in name or "positional_embedding" in name
            if table or self.unused_layer(name, used):
                continue
            late = any(part in name for part in LATE) and "max_num_tiles" not in self.vision
            flops += 2 * self.weights(name) * (tokens if late else rows)
        return flops

    @staticmethod
    def unused_layer(name, used):
        return ".encoder.layers." in name and int(name.split(".layers.")[1].split(".")[0]) >= used

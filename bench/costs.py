"""What a checkpoint folder costs by its shapes: bytes read for a token, operations of a prompt and
of a picture. Counted from the headers of its weights and from config.json; nothing is estimated."""
import json
import struct
from pathlib import Path

BYTES = {"F32": 4, "BF16": 2, "F16": 2, "U32": 4}


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
        self.text = self.config.get("text_config") or self.config
        self.vision = self.config.get("vision_config", {})
        self.tensors = tensors(folder)
        self.file_bytes = sum(p.stat().st_size for p in Path(folder).glob("*.safetensors"))
        heads = self.text["num_attention_heads"]
        self.attention_width = heads * self.text.get("head_dim", self.text["hidden_size"] // heads)
        self.context = self.text.get("max_position_embeddings", 4096)
        self.tied = not any(".lm_head." in name for name in self.tensors)

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
                if n.startswith("language_model.") and not any(layer in n for layer in across)]

    def decode_bytes(self):
        """Weights that one token reads: all of the decoder, and the table only where it is the
        head."""
        names = [n for n in self.language() if self.tied or ".embed_tokens." not in n]
        return sum(product(self.tensors[n][1]) * BYTES[self.tensors[n][0]] for n in names)

    def prefill_flops(self, tokens):
        """Products of every layer, causal attention, and the head of the last row."""
        layers = sum(self.weights(n) for n in self.language()
                     if ".layers." in n and n.endswith("_proj.weight"))
        depth = self.text["num_hidden_layers"] - len(self.text.get("cross_attention_layers", []))
        attention = 2 * tokens * tokens * self.attention_width * depth
        head = self.text["hidden_size"] * self.text["vocab_size"]
        return 2 * layers * tokens + attention + 2 * head

    def vision_rows(self, tokens):
        """Rows in the tower of a picture that takes `tokens` in the prompt."""
        if "max_num_tiles" in self.vision:  # tiles are always so many, whatever the picture fills
            side = self.vision["image_size"] // self.vision["patch_size"]
            return self.vision["max_num_tiles"] * (side * side + 1)
        merge = self.vision.get("spatial_merge_size", self.config.get("scale_factor", 1)) ** 2
        clip = self.vision.get("model_type") == "clip_vision_model"
        return tokens * merge + (1 if clip else 0)

    def tower_layers(self):
        """As many as there are weights of: configs leave the standard number out."""
        marks = [".layers.", ".blocks."]
        found = {(name.split(mark)[0], name.split(mark)[1].split(".")[0])
                 for name in self.tensors for mark in marks
                 if mark in name and not name.startswith("language_model.")}
        return len(found)

    def tile_rows(self):
        """Rows of a tile, for families that cut pictures into tiles of one size; else None."""
        if "scale_factor" not in self.config:
            return None
        return (self.vision["image_size"] // self.vision["patch_size"]) ** 2

    def vision_flops(self, tokens):
        """Products and bidirectional attention of a picture that takes `tokens` in the prompt."""
        rows = self.vision_rows(tokens)
        depth = self.tower_layers()
        last = self.config.get("vision_feature_layer", -1)
        used = depth + 1 + last if last < 0 else last
        width = self.vision.get("embed_dim") or self.vision["hidden_size"]
        seen = self.tile_rows() or rows  # a row sees its own tile
        flops = 4 * rows * seen * width * used
        for name, (_, shape) in self.tensors.items():
            if name.startswith("language_model.") or len(shape) < 2 or not name.endswith("weight"):
                continue
            table = "position_embedding" in name or "positional_embedding" in name
            if table or self.unused_layer(name, used):
                continue
            late = ("merger" in name or "projector" in name) and "max_num_tiles" not in self.vision
            flops += 2 * self.weights(name) * (tokens if late else rows)
        return flops

    @staticmethod
    def unused_layer(name, used):
        return ".encoder.layers." in name and int(name.split(".layers.")[1].split(".")[0]) >= used

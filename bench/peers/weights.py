"""Tensors of a checkpoint folder as float32 arrays, one at a time: plain ones, and affine ones
dequantised."""
import json
import struct
from pathlib import Path

import numpy as np

DTYPES = {"F32": np.float32, "F16": np.float16, "BF16": np.uint16, "U32": np.uint32}


class Weights:
    def __init__(self, folder):
        self.config = json.loads((Path(folder) / "config.json").read_text())
        self.quantization = self.config.get("quantization", {})
        self.places = {}
        for path in sorted(Path(folder).glob("*.safetensors")):
            with open(path, "rb") as file:
                size = struct.unpack("<Q", file.read(8))[0]
                header = json.loads(file.read(size))
            header.pop("__metadata__", None)
            data = np.memmap(path, np.uint8, "r", offset=8 + size)
            self.places.update({name: (data, entry) for name, entry in header.items()})

    def __contains__(self, name):
        return name in self.places

    def stored(self, name):
        data, entry = self.places[name]
        begin, end = entry["data_offsets"]
        return data[begin:end].view(DTYPES[entry["dtype"]]).reshape(entry["shape"])

    def plain(self, name):
        values = self.stored(name)
        if self.places[name][1]["dtype"] == "BF16":  # the upper half of a float32
            return (values.astype(np.uint32) << 16).view(np.float32)
        return values.astype(np.float32)

    def shape(self, path):
        """Of rows(path)."""
        out, columns = self.places[f"{path}.weight"][1]["shape"]
        if f"{path}.scales" in self.places:
            columns = columns * 32 // self.quantization["bits"]
        return (out, columns)

    def rows(self, path):
        """The weight of a linear layer or an embedding, [out, in]."""
        if f"{path}.scales" not in self.places:
            return self.plain(f"{path}.weight")
        bits = self.quantization["bits"]
        if 32 % bits:
            raise SystemExit(f"expected 2, 4 or 8 bits but got {bits}")
        words = self.stored(f"{path}.weight")
        shifts = np.arange(0, 32, bits, dtype=np.uint32)
        codes = (words[..., None] >> shifts) & np.uint32((1 << bits) - 1)
        scales = self.plain(f"{path}.scales")[..., None]
        biases = self.plain(f"{path}.biases")[..., None]
        groups = codes.reshape(*scales.shape[:2], -1).astype(np.float32)
        return (groups * scales + biases).reshape(words.shape[0], -1)

"""A GGUF file written tensor by tensor: sizes first, values when their turn comes."""
import gguf
import numpy as np

TYPES = {"q4_0": gguf.GGMLQuantizationType.Q4_0, "f16": gguf.GGMLQuantizationType.F16,
         "f32": gguf.GGMLQuantizationType.F32}
ROWS_AT_ONCE = 4096


class Stream:
    def __init__(self, path, architecture):
        self.writer = gguf.GGUFWriter(path, architecture)
        self.tensors = []

    def add(self, name, kind, values, shape=None):
        """`values` is called when it is time to write, and once before where no shape is given."""
        shape = shape or values().shape
        if kind == "q4_0" and shape[-1] % 32:
            kind = "f16"
        type_ = TYPES[kind]
        if kind == "q4_0":
            stored = gguf.quant_shape_to_byte_shape(shape, type_)
            dtype = np.dtype(np.uint8)
        else:
            stored = shape
            dtype = np.dtype(np.float16 if kind == "f16" else np.float32)
        size = int(np.prod(stored)) * dtype.itemsize
        self.writer.add_tensor_info(name, stored, dtype, size, raw_dtype=type_)
        self.tensors.append((kind, values))

    def write(self):
        self.writer.write_header_to_file()
        self.writer.write_kv_data_to_file()
        self.writer.write_ti_data_to_file()
        for kind, values in self.tensors:
            self.writer.write_tensor_data(encoded(values(), kind))
        self.writer.close()


def encoded(values, kind):
    if kind != "q4_0":
        return np.ascontiguousarray(values, np.float16 if kind == "f16" else np.float32)
    parts = [gguf.quants.quantize(values[i:i + ROWS_AT_ONCE], TYPES[kind])
             for i in range(0, len(values), ROWS_AT_ONCE)]
    return np.concatenate(parts)

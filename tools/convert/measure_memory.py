"""Peak memory and time of `fovea convert` on a synthetic checkpoint of a real shape.

    python3 tools/convert/measure_memory.py SCRATCH [SHAPE[:LAYERS] [FLAG...]]

SCRATCH is a folder with room for the checkpoint and its conversion (22 GB for the standard shape,
qwen2_vl-7b of 16.6 GB); both are removed at the end. The peak is the largest resident set that the
kernel saw (ru_maxrss), mapped pages of the checkpoint included.

Stacks of experts are given Hugging Face's layout, whose rows a converter must turn: for example
qwen3_vl-30b-a3b:6, of which six layers have 7.3 GB.
"""

import json
import resource
import shutil
import struct
import subprocess
import sys
import time
from pathlib import Path

FOVEA = Path(__file__).resolve().parents[2] / "build/release/fovea"


def fused(header):
    """The header with gate and up of each stack as one tensor and down turned, over the same bytes
    (which are random anyway); and the new name of each old one."""
    renamed = {}
    for name, gate in list(header.items()):
        if not name.endswith(".switch_mlp.gate_proj.weight"):
            continue
        stem = name.removesuffix("switch_mlp.gate_proj.weight")
        up, down = (header.get(f"{stem}switch_mlp.{part}_proj.weight") for part in ("up", "down"))
        # A stack that the end of a file cuts in two stays as it is.
        if not up or not down or gate["data_offsets"][1] != up["data_offsets"][0]:
            continue
        for part in ("gate", "up"):
            del header[f"{stem}switch_mlp.{part}_proj.weight"]
            renamed[f"{stem}switch_mlp.{part}_proj.weight"] = f"{stem}experts.gate_up_proj"
        del header[f"{stem}switch_mlp.down_proj.weight"]
        renamed[f"{stem}switch_mlp.down_proj.weight"] = f"{stem}experts.down_proj"
        experts, inner, wide = gate["shape"]
        header[f"{stem}experts.gate_up_proj"] = {
            "dtype": gate["dtype"],
            "shape": [experts, wide, 2 * inner],
            "data_offsets": [gate["data_offsets"][0], up["data_offsets"][1]],
        }
        header[f"{stem}experts.down_proj"] = down | {"shape": [experts, inner, wide]}
    return renamed


def give_hugging_faces_experts(folder):
    renamed = {}
    for file in folder.glob("*.safetensors"):
        with file.open("r+b") as stream:
            (length,) = struct.unpack("<Q", stream.read(8))
            header = json.loads(stream.read(length))
            renamed |= fused(header)
            text = json.dumps(header, separators=(",", ":")).encode()
            if len(text) > length:
                raise ValueError(f"expected a header of at most {length} bytes but got {len(text)}")
            stream.seek(8)
            stream.write(text.ljust(length))
    index = folder / "model.safetensors.index.json"
    if index.exists():
        told = json.loads(index.read_text())
        told["weight_map"] = {renamed.get(name, name): file for name, file in told["weight_map"].items()}
        index.write_text(json.dumps(told))


def main():
    scratch = Path(sys.argv[1])
    shape, _, layers = (sys.argv[2] if len(sys.argv) > 2 else "qwen2_vl-7b").partition(":")
    flags = sys.argv[3:] or ["--q-bits", "4"]
    source, out = scratch / "source", scratch / "converted"
    try:
        # Its own process, so that its peak does not count.
        subprocess.run([sys.executable, "-c", "import subprocess, sys; subprocess.run(sys.argv[1:], check=True)",
                        FOVEA, "synth", shape, "--bits", "16", source, *(["--layers", layers] if layers else [])],
                       check=True)
        give_hugging_faces_experts(source)
        before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
        begin = time.monotonic()
        subprocess.run([FOVEA, "convert", source, out, *flags], check=True)
        seconds = time.monotonic() - begin
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
        note = "at most " if peak == before else ""
        print(f"{shape} {' '.join(flags)}: peak {note}{peak * 1024 / 1e9:.3f} GB in {seconds:.0f} s")
    finally:
        shutil.rmtree(source, ignore_errors=True)
        shutil.rmtree(out, ignore_errors=True)


if __name__ == "__main__":
    main()

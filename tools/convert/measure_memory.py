"""Peak memory and time of `fovea convert` on a synthetic checkpoint of a real shape.

    python3 tools/convert/measure_memory.py SCRATCH [SHAPE [FLAG...]]

SCRATCH is a folder with room for the checkpoint and its conversion (22 GB for the standard shape,
qwen2_vl-7b of 16.6 GB); both are removed at the end. The peak is the largest resident set that the
kernel saw (ru_maxrss), mapped pages of the checkpoint included.
"""

import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path

FOVEA = Path(__file__).resolve().parents[2] / "build/release/fovea"


def main():
    scratch = Path(sys.argv[1])
    shape = sys.argv[2] if len(sys.argv) > 2 else "qwen2_vl-7b"
    flags = sys.argv[3:] or ["--q-bits", "4"]
    source, out = scratch / "source", scratch / "converted"
    try:
        # Its own process, so that its peak does not count.
        subprocess.run([sys.executable, "-c", "import subprocess, sys; subprocess.run(sys.argv[1:], check=True)",
                        FOVEA, "synth", shape, "--bits", "16", source], check=True)
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

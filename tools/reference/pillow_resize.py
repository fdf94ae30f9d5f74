"""tests/fixtures/pillow/resize: what Pillow's resize gives, by SHA-256."""

import hashlib
import shutil
import sys
from pathlib import Path

from PIL import Image

from pictures import formula, gradient, noise
from rows import made_with, write_rows

FILTERS = {
    "nearest": Image.Resampling.NEAREST,
    "box": Image.Resampling.BOX,
    "bilinear": Image.Resampling.BILINEAR,
    "hamming": Image.Resampling.HAMMING,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}
TARGETS = {
    "noise_1x1": [(1, 1), (5, 3), (28, 28)],
    "noise_1x9": [(1, 1), (4, 9), (1, 30), (14, 2)],
    "noise_9x1": [(1, 1), (9, 4), (30, 1), (2, 14)],
    "noise_17x13": [(17, 13), (16, 13), (17, 12), (34, 26), (5, 4), (56, 56), (1, 1), (40, 6)],
    "gradient_33x57": [(33, 57), (28, 56), (32, 32), (99, 171), (7, 11), (33, 20), (336, 336)],
    "noise_64x48": [(32, 24), (63, 47), (128, 96), (224, 168), (3, 200)],
    "gradient_100x3": [(28, 28), (50, 3), (100, 6), (7, 1)],
    # Over 100 times as tall as wide: Pillow shrinks the height first, but not at 100 times.
    "noise_2x201": [(17, 25), (6, 300), (1, 7)],
    "noise_2x200": [(17, 25)],
    "formula_1021x767": [
        (336, 336),
        (252, 189),
        (1008, 756),
        (1021, 28),
        (28, 767),
        (384, 384),
        (1, 1),
    ],
}


def source(name):
    kind, size = name.split("_")
    width, height = (int(side) for side in size.split("x"))
    if kind == "noise":
        return noise(width, height, width * 1000 + height)
    return {"gradient": gradient, "formula": formula}[kind](width, height)


def main(root):
    folder = Path(root) / "pillow" / "resize"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    cases = []
    for name, targets in TARGETS.items():
        pixels = source(name)
        if not name.startswith("formula"):
            (folder / f"{name}.rgb").write_bytes(pixels.tobytes())
        for width, height in targets:
            for filter_name, resample in FILTERS.items():
                output = Image.fromarray(pixels).resize((width, height), resample).tobytes()
                cases.append(
                    {
                        "source": name,
                        "width": width,
                        "height": height,
                        "filter": filter_name,
                        "sha256": hashlib.sha256(output).hexdigest(),
                    }
                )
    write_rows(folder / "cases.json", {"made_with": made_with("pillow"), "cases": cases})
    print(f"{len(cases)} resizes")


if __name__ == "__main__":
    main(sys.argv[1])

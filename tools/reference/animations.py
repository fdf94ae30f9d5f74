"""tests/fixtures/pillow/animations: animated GIF, PNG and WebP, and the frames and times Pillow reads."""

import io
import shutil
import sys
from pathlib import Path

import numpy as np
from PIL import Image, ImageSequence

from pictures import gradient
from rows import made_with, write_rows

DURATIONS = [70, 30, 200, 50, 100]  # milliseconds


def scenes():
    """A square that wanders over a ground which stays: most of a frame is the frame before."""
    ground = gradient(40, 28)
    frames = []
    for i in range(len(DURATIONS)):
        frame = ground.copy()
        frame[4 + 3 * i : 12 + 3 * i, 5 + 6 * i : 13 + 6 * i] = [250 - 40 * i, 20, 30 * i]
        frames.append(Image.fromarray(frame))
    return frames


def saved(frames, kind, **options):
    buffer = io.BytesIO()
    frames[0].save(buffer, kind, save_all=True, append_images=frames[1:], **options)
    return buffer.getvalue()


def patches():
    """Small frames on a canvas, for formats whose frames have places of their own."""
    frames = scenes()
    palette = frames[0].quantize(200)
    return [frame.quantize(palette=palette, dither=Image.Dither.NONE) for frame in frames]


def files():
    frames, few = scenes(), patches()
    return {
        "plain.gif": saved(few, "GIF", duration=DURATIONS, loop=0),
        "keeps.gif": saved(few, "GIF", duration=DURATIONS, disposal=1),
        "mixed.gif": saved(few, "GIF", duration=DURATIONS, disposal=[1, 3, 1, 3, 1]),
        "plain.png": saved(frames, "PNG", duration=DURATIONS),
        "restores.png": saved(frames, "PNG", duration=DURATIONS, disposal=2),
        "mixed.png": saved(frames, "PNG", duration=DURATIONS, disposal=[0, 2, 0, 2, 0], blend=0),
        "hidden.png": saved(
            [frames[0], *frames], "PNG", duration=DURATIONS, default_image=True, disposal=0
        ),
        "lossless.webp": saved(frames, "WEBP", duration=DURATIONS, lossless=True),
        "keys.webp": saved(frames, "WEBP", duration=DURATIONS, lossless=True, kmin=1, kmax=2),
    }


def main(root):
    folder = Path(root) / "pillow" / "animations"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    cases = []
    for name, content in files().items():
        (folder / name).write_bytes(content)
        frames, times, at = [], [], 0
        opened = Image.open(folder / name)
        for i, frame in enumerate(ImageSequence.Iterator(opened)):
            if opened.info.get("default_image") and i == 0:
                continue  # shown only by who knows no animations
            frame.load()
            frames.append(np.asarray(frame.convert("RGB")))
            times.append(at)
            at += int(frame.info["duration"])
        expected = f"{name}.rgb"
        (folder / expected).write_bytes(np.stack(frames).tobytes())
        cases.append(
            {"file": name, "width": 40, "height": 28, "expected": expected, "times_ms": times, "end_ms": at}
        )
    write_rows(folder / "cases.json", {"made_with": made_with("pillow"), "cases": cases})
    print(f"{len(cases)} animations")


if __name__ == "__main__":
    main(sys.argv[1])

"""Small clips for fixtures, encoded by the ffmpeg tool such that a second run writes the same bytes."""

import subprocess

import numpy as np


def moving_disc(width, height, count, seed):
    """Frames [count, height, width, 3]: a gradient over which a disc moves."""
    rng = np.random.default_rng(seed)
    down, across = np.mgrid[0:height, 0:width]
    colour, floor = rng.integers(0, 256, 3), rng.integers(40, 215)
    frames = np.zeros((count, height, width, 3), np.uint8)
    for index in range(count):
        share = index / max(count - 1, 1)
        frames[index, ..., 0] = across * 255 / max(width - 1, 1)
        frames[index, ..., 1] = down * 255 / max(height - 1, 1)
        frames[index, ..., 2] = floor * (1 - share)
        x, y = width * (0.2 + 0.6 * share), height * (0.7 - 0.4 * share)
        frames[index][(across - x) ** 2 + (down - y) ** 2 < (height / 4) ** 2] = colour
    return frames


def encode(frames, path, rate, options):
    """`rate` and `options` as the tool takes them: "30000/1001", ["-c:v", "libx264"]."""
    height, width = frames.shape[1:3]
    source = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}", "-r", rate, "-i", "-"]
    exact = ["-threads", "1", "-fflags", "+bitexact", "-flags:v", "+bitexact"]
    subprocess.run(
        ["ffmpeg", "-v", "error", "-y", *source, *options, *exact, str(path)],
        input=frames.tobytes(),
        check=True,
    )


H264 = ["-c:v", "libx264", "-pix_fmt", "yuv420p", "-g", "12", "-bf", "2"]

"""Pictures that the C++ tests can have without a decoder: raw RGB files, or a formula."""

import numpy as np


def formula(width, height):
    """Channel c of pixel (x, y) is (7 x + 13 y + 29 c + x y / 16) mod 256, in whole numbers."""
    y, x, c = np.mgrid[0:height, 0:width, 0:3]
    return ((7 * x + 13 * y + 29 * c + x * y // 16) % 256).astype(np.uint8)


def noise(width, height, seed):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def gradient(width, height):
    """Ramps with one hard edge, on which the outer lobes of bicubic and Lanczos overshoot."""
    y, x = np.mgrid[0:height, 0:width]
    red = 255 * x // max(width - 1, 1)
    green = 255 * y // max(height - 1, 1)
    blue = np.where(x * 2 < width, 0, 255)
    return np.stack([red, green, blue], -1).astype(np.uint8)

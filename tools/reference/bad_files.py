"""tests/fixtures/bad: broken, hostile and odd files, with what a reader must do about each."""

import json
import shutil
import struct
import sys
import zlib
from pathlib import Path

import numpy as np
from PIL import Image
from safetensors import SafetensorError, deserialize

from image_files import chunk, encoded
from pictures import noise
from rows import write_rows


def tensors(header, data=b"", length=None):
    """A safetensors file; header is JSON text or what becomes it."""
    text = (header if isinstance(header, str) else json.dumps(header)).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def f32(shape, begin, end):
    return {"dtype": "F32", "shape": shape, "data_offsets": [begin, end]}


def safetensors_files():
    """name -> (why it is bad, content)"""
    good = tensors({"a": f32([2, 2], 0, 16)}, bytes(16))
    return {
        "product_wraps": (
            "the product of the shape wraps to 0",
            tensors({"a": f32([65536] * 4, 0, 0)}),
        ),
        "offset_wraps": (
            "the offsets wrap round, back into the header",
            tensors({"a": f32([4], 2**64 - 100, 2**64 - 84)}, bytes(16)),
        ),
        "negative_shape": ("a shape is negative", tensors({"a": f32([-1, -1], 0, 4)}, bytes(4))),
        "overlap": (
            "two tensors share bytes",
            tensors({"a": f32([4], 0, 16), "b": f32([4], 0, 16)}, bytes(16)),
        ),
        "trailing_bytes": (
            "48 bytes belong to no tensor",
            tensors({"a": f32([4], 0, 16)}, bytes(64)),
        ),
        "empty": ("0 bytes", b""),
        "seven_bytes": ("shorter than its length field", b"\x10" + bytes(6)),
        "header_longer_than_file": ("the header ends beyond the file", tensors("{}", length=1000)),
        "huge_header": ("the header claims 2^63 bytes", tensors("{}", length=2**63)),
        "header_cut_short": (
            "the header's length cuts its JSON",
            tensors({"a": f32([4], 0, 16)}, bytes(16), length=20),
        ),
        "data_cut_short": ("the last 8 bytes of data are missing", good[:-8]),
        "not_json": ("the header is no JSON", tensors("{tensors}")),
        "deep_json": (
            "the header is nested 2000 deep",
            tensors('{"a":' + "[" * 2000 + "]" * 2000 + "}"),
        ),
        "array_header": ("the header is a list", tensors("[]")),
        "number_as_dtype": (
            "a dtype is a number",
            tensors({"a": {"dtype": 5, "shape": [4], "data_offsets": [0, 16]}}, bytes(16)),
        ),
        "unknown_dtype": (
            "a dtype is unknown",
            tensors({"a": {"dtype": "F31", "shape": [4], "data_offsets": [0, 16]}}, bytes(16)),
        ),
        "size_mismatch": (
            "the shape needs other bytes than the offsets give",
            tensors({"a": f32([5], 0, 16)}, bytes(16)),
        ),
        "gap": (
            "bytes between two tensors belong to none",
            tensors({"a": f32([1], 0, 4), "b": f32([1], 8, 12)}, bytes(12)),
        ),
        "reversed_offsets": (
            "a tensor ends before it begins",
            tensors({"a": f32([4], 16, 0)}, bytes(16)),
        ),
        "fractional_shape": (
            "a shape is no whole number",
            tensors({"a": f32([1.5], 0, 6)}, bytes(6)),
        ),
        "missing_offsets": (
            "a tensor has no offsets",
            tensors({"a": {"dtype": "F32", "shape": [1]}}, bytes(4)),
        ),
    }


def png_header(width, height, depth=1, colour_type=0):
    return b"\x89PNG\r\n\x1a\n" + chunk(
        b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour_type, 0, 0, 0)
    )


def bomb(side):
    """A black 1-bit PNG: its few bytes grow several thousandfold."""
    compressor = zlib.compressobj(9)
    row = bytes(1 + (side + 7) // 8)
    packed = b"".join(compressor.compress(row) for _ in range(side)) + compressor.flush()
    return png_header(side, side) + chunk(b"IDAT", packed) + chunk(b"IEND", b"")


def picture_files():
    """name -> (what it is, "refuse" or "read", content)"""
    image = Image.fromarray(noise(40, 30, 8))
    png, jpeg = encoded(image, "PNG"), encoded(image, "JPEG")
    gif, webp = encoded(image.quantize(16), "GIF"), encoded(image, "WEBP", lossless=True)
    wrong_sum = bytearray(png)
    wrong_sum[60] ^= 0xFF
    huge_jpeg = bytearray(jpeg)
    frame = jpeg.index(b"\xff\xc0")
    struct.pack_into(">HH", huge_jpeg, frame + 5, 65535, 65535)
    column = encoded(Image.fromarray(np.full((10000, 1, 3), 200, np.uint8)), "PNG", optimize=True)
    return {
        "zero_bytes.png": ("0 bytes", "refuse", b""),
        "text.png": ("text with a picture's name", "refuse", b"This is no picture.\n"),
        "page.jpg": (
            "a web page with a picture's name",
            "refuse",
            b"<!doctype html><title>404</title>\n",
        ),
        "drawing.svg": (
            "an SVG drawing",
            "refuse",
            b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>\n',
        ),
        "truncated.jpg": ("the second half is missing", "refuse", jpeg[: len(jpeg) // 2]),
        "truncated.png": ("the second half is missing", "refuse", png[: len(png) // 2]),
        "truncated.gif": ("the second half is missing", "refuse", gif[: len(gif) // 2]),
        "truncated.webp": ("the second half is missing", "refuse", webp[: len(webp) // 2]),
        "header_only.png": ("nothing follows the header", "refuse", png[:33]),
        "wrong_checksum.png": ("a byte of the pixel data is flipped", "refuse", bytes(wrong_sum)),
        "zero_width.png": ("0 pixels wide", "refuse", png_header(0, 5) + chunk(b"IEND", b"")),
        "claims_two_billion.png": (
            "claims 2147483647 x 2147483647",
            "refuse",
            png_header(2**31 - 1, 2**31 - 1)
            + chunk(b"IDAT", zlib.compress(b""))
            + chunk(b"IEND", b""),
        ),
        "claims_65535.jpg": ("claims 65535 x 65535", "refuse", bytes(huge_jpeg)),
        "bomb_13000.png": ("13000 x 13000 pixels in 20 kB", "refuse", bomb(13000)),
        "one_pixel.png": ("1 x 1", "read", encoded(Image.new("RGB", (1, 1), (9, 99, 199)), "PNG")),
        "column_1x10000.png": (
            "1 x 10000: a decoder reads it, a family may refuse the shape",
            "read",
            column,
        ),
        "trailing_bytes.png": ("a good picture with more behind it", "read", png + b"more"),
        "jpeg_named_png.png": ("a JPEG with the wrong name", "read", jpeg),
    }


def main(root):
    folder = Path(root) / "bad"
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "safetensors").mkdir(parents=True)
    (folder / "pictures").mkdir()
    expectations = {"safetensors": [], "pictures": []}
    for name, (why, content) in safetensors_files().items():
        if not refused(content):
            raise SystemExit(f"the safetensors crate accepts {name}")
        (folder / "safetensors" / f"{name}.safetensors").write_bytes(content)
        expectations["safetensors"].append(
            {"file": f"{name}.safetensors", "why": why, "expect": "refuse"}
        )
    for name, (why, action, content) in picture_files().items():
        (folder / "pictures" / name).write_bytes(content)
        expectations["pictures"].append({"file": name, "why": why, "expect": action})
    write_rows(folder / "cases.json", expectations)
    print(
        f"{len(expectations['safetensors'])} weight files, {len(expectations['pictures'])} pictures"
    )


def refused(content):
    try:
        deserialize(content)
        return False
    except SafetensorError:
        return True


if __name__ == "__main__":
    main(sys.argv[1])

"""Pictures of any size for benches, without a library: smooth colours with some noise, so that
they take about as long to read as a photograph saved as PNG."""
import struct
import zlib
from pathlib import Path


def sizes(text):
    """[(640, 480), ...] of "640x480,..."."""
    return [tuple(map(int, size.split("x"))) for size in text.split(",") if size]


def rows(width, height):
    state = 1
    for y in range(height):
        row = bytearray([0])  # no filter
        for x in range(width):
            state = (state * 1103515245 + 12345) & 0x7FFFFFFF
            noise = state >> 27
            row += bytes(((x * 255 // width + noise) & 255, (y * 255 // height + noise) & 255,
                          ((x + y) * 127 // (width + height) + noise) & 255))
        yield bytes(row)


def picture(folder, width, height):
    """The path of a PNG of this size, made on demand."""
    path = Path(folder) / f"{width}x{height}.png"
    if path.exists():
        return path

    def chunk(kind, data):
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    path.parent.mkdir(parents=True, exist_ok=True)
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels = zlib.compress(b"".join(rows(width, height)), 6)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) +
                     chunk(b"IEND", b""))
    return path

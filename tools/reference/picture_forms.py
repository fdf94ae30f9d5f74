"""Pictures in the rarer formats, with colour profiles and transparency, for image_files.py."""

import struct
import subprocess
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image, ImageCms, PngImagePlugin

from pictures import gradient, noise


def tag(name, content):
    return name, content + bytes(-len(content) % 4)


def icc(space, kind, tags):
    """An ICC profile of version 2."""
    table, body = b"", b""
    start = 128 + 4 + 12 * len(tags)
    for name, content in tags:
        table += name + struct.pack(">II", start + len(body), len(content))
        body += content
    size = start + len(body)
    white = struct.pack(">iii", *(round(v * 65536) for v in (0.9642, 1.0, 0.8249)))
    header = struct.pack(">I4sI4s4s4s", size, b"\0" * 4, 0x02400000, kind, space, b"XYZ ")
    if space == b"CMYK":
        header = header[:-4] + b"Lab "
    header += struct.pack(">6H", 2026, 1, 1, 0, 0, 0) + b"acsp" + bytes(28) + white
    return (header + bytes(128 - len(header)) + struct.pack(">I", len(tags)) + table + body)


def text_tag(text):
    raw = text.encode() + b"\0"
    return b"desc" + bytes(4) + struct.pack(">I", len(raw)) + raw + bytes(4 + 4 + 2 + 1 + 67)


def xyz(*values):
    return b"XYZ " + bytes(4) + struct.pack(">iii", *(round(v * 65536) for v in values))


def gamma(value):
    return b"curv" + bytes(4) + struct.pack(">IH", 1, round(value * 256))


def p3_profile():
    """Display P3's primaries, adapted to D50, with a plain power curve."""
    curve = gamma(2.2)
    return icc(
        b"RGB ",
        b"mntr",
        [
            tag(b"desc", text_tag("wide test")),
            tag(b"cprt", b"text" + bytes(4) + b"none\0"),
            tag(b"wtpt", xyz(0.9642, 1.0, 0.8249)),
            tag(b"rXYZ", xyz(0.51512, 0.2412, -0.00105)),
            tag(b"gXYZ", xyz(0.29198, 0.69225, 0.04189)),
            tag(b"bXYZ", xyz(0.1571, 0.06657, 0.78407)),
            tag(b"rTRC", curve),
            tag(b"gTRC", curve),
            tag(b"bTRC", curve),
        ],
    )


def grey_profile():
    return icc(
        b"GRAY",
        b"mntr",
        [
            tag(b"desc", text_tag("grey test")),
            tag(b"cprt", b"text" + bytes(4) + b"none\0"),
            tag(b"wtpt", xyz(0.9642, 1.0, 0.8249)),
            tag(b"kTRC", gamma(1.6)),
        ],
    )


def cmyk_profile():
    """A table of nine steps an ink, to Lab: enough to tell it from the plain formula."""
    steps = 9
    table = b""
    for inks in np.ndindex(steps, steps, steps, steps):
        c, m, y, k = (ink / (steps - 1) for ink in inks)
        light = 255 * (1 - 0.3 * c) * (1 - 0.45 * m) * (1 - 0.1 * y) * (1 - 0.85 * k)
        rest = 1 - 0.9 * k
        reds, yellows = (-12 * c + 25 * m) * rest, (-20 * c + 28 * y) * rest
        table += bytes([round(light), 128 + round(reds), 128 + round(yellows)])
    matrix = struct.pack(">9i", *(65536 if i % 4 == 0 else 0 for i in range(9)))
    identity = bytes(range(256))
    lut = b"mft1" + bytes(4) + bytes([4, 3, steps, 0]) + matrix
    lut += identity * 4 + table + identity * 3
    return icc(
        b"CMYK",
        b"prtr",
        [
            tag(b"desc", text_tag("ink test")),
            tag(b"cprt", b"text" + bytes(4) + b"none\0"),
            tag(b"wtpt", xyz(0.9642, 1.0, 0.8249)),
            tag(b"A2B0", lut),
        ],
    )


def srgb_profile():
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def run(command):
    subprocess.run(command, check=True, capture_output=True)


def converted(content, name, command):
    """What a tool makes of a file: command is given the paths of both."""
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "in.tif", Path(folder) / name
        source.write_bytes(content)
        run([word.format(source=source, target=target) for word in command])
        return target.read_bytes()


def tiff_forms(encoded, exif):
    rgb = Image.fromarray(gradient(29, 21))
    rough = noise(29, 21, 20)
    alpha = Image.fromarray(np.concatenate([rough, noise(29, 21, 21)[..., :1]], -1), "RGBA")
    inks = Image.fromarray(np.concatenate([rough, noise(29, 21, 22)[..., :1]], -1), "CMYK")
    deep = (np.arange(29 * 21).reshape(21, 29) * 107 % 65536).astype(np.uint16)
    plain = encoded(rgb, "TIFF")
    with_alpha = encoded(alpha, "TIFF")
    forms = {
        f"{name}.tif": encoded(image, "TIFF", **options)
        for name, image, options in [
            ("grey", rgb.convert("L"), {}),
            ("grey_lzw", rgb.convert("L"), {"compression": "tiff_lzw"}),
            ("grey_alpha", alpha.convert("LA"), {}),
            ("bits", rgb.convert("1"), {}),
            ("bits_g4", rgb.convert("1"), {"compression": "group4"}),
            ("bits_g3", rgb.convert("1"), {"compression": "group3"}),
            ("palette", rgb.quantize(50), {}),
            ("palette_packbits", rgb.quantize(16), {"compression": "packbits"}),
            ("rgb_lzw", rgb, {"compression": "tiff_lzw"}),
            ("rgb_deflate", rgb, {"compression": "tiff_adobe_deflate"}),
            ("rgb_jpeg", rgb, {"compression": "jpeg", "quality": 90}),
            ("rgba", alpha, {}),
            ("cmyk", inks, {}),
            ("cmyk_lzw", inks, {"compression": "tiff_lzw"}),
            ("grey_16", Image.fromarray(deep), {}),
            ("rgb_profile", rgb, {"icc_profile": p3_profile()}),
            ("cmyk_profile", inks, {"icc_profile": cmyk_profile()}),
            ("turned_3", rgb, {"tiffinfo": {274: 3}}),
            ("turned_8", rgb, {"tiffinfo": {274: 8}}),
            ("pages", rgb, {"save_all": True, "append_images": [alpha.convert("RGB")]}),
        ]
    }
    forms["rgb.tif"] = plain
    for name, source, words in [
        ("tiled", plain, ["-t", "-w", "16", "-l", "16"]),
        ("tiled_lzw", plain, ["-c", "lzw:2", "-t", "-w", "16", "-l", "16"]),
        ("planes", plain, ["-p", "separate"]),
        ("planes_alpha", with_alpha, ["-p", "separate", "-r", "5"]),
        ("planes_tiled", with_alpha, ["-p", "separate", "-t", "-w", "16", "-l", "16"]),
        ("strips", plain, ["-r", "4"]),
        ("big_endian", plain, ["-B"]),
        ("big_endian_16", forms["grey_16.tif"], ["-B"]),
        ("bigtiff", plain, ["-8"]),
        ("lsb_first", forms["bits.tif"], ["-f", "lsb2msb"]),
    ]:
        forms[f"{name}.tif"] = converted(
            source, "out.tif", ["tiffcp", *words, "{source}", "{target}"]
        )
    return forms


def bmp(pixels, bits, kind=0, palette=b"", masks=b"", top_down=False, size=40):
    """pixels is the encoded bitmap with its rows as BMP keeps them."""
    data, width, height = pixels
    offset = 14 + size + len(masks) + len(palette)
    if size == 12:
        header = struct.pack("<IHHHH", 12, width, height, 1, bits)
    else:
        header = struct.pack(
            "<IiiHHIIiiII", size, width, -height if top_down else height, 1, bits, kind,
            len(data), 2835, 2835, len(palette) // 4, 0,
        )  # fmt: skip
    return (
        b"BM" + struct.pack("<IHHI", offset + len(data), 0, 0, offset)
        + header + masks + palette + data
    )  # fmt: skip


def rows(array, bottom_up=True):
    array = array[::-1] if bottom_up else array
    raw = [row.tobytes() for row in array]
    return b"".join(row + bytes(-len(row) % 4) for row in raw)


def bmp_forms(encoded):
    rgb = gradient(29, 21)
    image = Image.fromarray(rgb)
    alpha = Image.fromarray(np.concatenate([rgb, noise(29, 21, 23)[..., :1]], -1), "RGBA")
    low = rgb.astype(np.uint16) >> 3
    rgb555 = (low[..., 0] << 10 | low[..., 1] << 5 | low[..., 2]).astype("<u2")
    rgb565 = (low[..., 0] << 11 | (rgb[..., 1].astype(np.uint16) >> 2) << 5 | low[..., 2]).astype("<u2")
    indices = (np.arange(29 * 21).reshape(21, 29) // 40 % 16).astype(np.uint8)
    table = noise(16, 1, 24)[0]
    quads = b"".join(bytes([*map(int, c[::-1]), 0]) for c in table)
    runs = b""
    for row in indices[::-1]:
        at = 0
        while at < 29:
            end = at
            while end < 29 and row[end] == row[at]:
                end += 1
            runs += bytes([end - at, row[at]])
            at = end
        runs += b"\0\0"
    runs += b"\0\1"
    bgr = rgb[..., ::-1]
    masks565 = struct.pack("<III", 0xF800, 0x07E0, 0x001F)
    masks555 = struct.pack("<III", 0x7C00, 0x03E0, 0x001F)
    quad = np.concatenate([bgr, noise(29, 21, 25)[..., :1]], -1)
    return {
        "bits.bmp": encoded(image.convert("1"), "BMP"),
        "grey.bmp": encoded(image.convert("L"), "BMP"),
        "palette.bmp": encoded(image.quantize(40), "BMP"),
        "rgb.bmp": encoded(image, "BMP"),
        "rgba.bmp": encoded(alpha, "BMP"),
        "rgb_555.bmp": bmp((rows(rgb555), 29, 21), 16),
        "rgb_555_fields.bmp": bmp((rows(rgb555), 29, 21), 16, 3, masks=masks555),
        "rgb_565.bmp": bmp((rows(rgb565), 29, 21), 16, 3, masks=masks565),
        "runs.bmp": bmp((runs, 29, 21), 8, 1, quads),
        "top_down.bmp": bmp((rows(bgr, False), 29, 21), 24, top_down=True),
        "old_header.bmp": bmp((rows(bgr), 29, 21), 24, size=12),
        "rgbx.bmp": bmp((rows(quad), 29, 21), 32),
        "palette_4.bmp": bmp(
            (rows(indices[:, :28:2] << 4 | indices[:, 1:28:2]), 28, 21), 4, 0, quads
        ),
    }


def portable_forms(encoded):
    rgb = gradient(29, 21)
    grey = np.ascontiguousarray(rgb[..., 0])
    deep = (np.arange(29 * 21).reshape(21, 29) * 107 % 65536).astype(">u2")
    bits = np.packbits(grey > 99, axis=1)
    words = "\n".join(" ".join(map(str, row)) for row in rgb.reshape(21, -1)).encode()
    image = Image.fromarray(rgb)
    return {
        "rgb.ppm": encoded(image, "PPM"),
        "grey.pgm": encoded(image.convert("L"), "PPM"),
        "comment.ppm": b"P6 # a comment\n# and one more 99\n29\t21\n255\n" + rgb.tobytes(),
        "bits.pbm": b"P4\n29 21\n" + bits.tobytes(),
        "grey_16.pgm": b"P5\n29 21\n65535\n" + deep.tobytes(),
        "text.ppm": b"P3\n29 21\n255\n" + words + b"\n",
        "rgb.qoi": encoded(image, "QOI"),
        "rgba.qoi": encoded(
            Image.fromarray(np.concatenate([rgb, noise(29, 21, 26)[..., :1]], -1), "RGBA"), "QOI"
        ),
    }


def profiled_forms(encoded):
    rgb = Image.fromarray(gradient(37, 23))
    grey = rgb.convert("L")
    alpha = rgb.copy()
    alpha.putalpha(Image.fromarray(noise(37, 23, 27)[..., 0]))
    inks = Image.fromarray(np.concatenate([gradient(37, 23), noise(37, 23, 28)[..., :1]], -1), "CMYK")
    wide, plain = p3_profile(), srgb_profile()
    large = wide + bytes(range(256)) * 270  # in two pieces of a JPEG
    return {
        "profile.jpg": encoded(rgb, "JPEG", quality=90, icc_profile=wide),
        "profile_pieces.jpg": encoded(rgb, "JPEG", quality=90, icc_profile=large),
        "profile_srgb.jpg": encoded(rgb, "JPEG", quality=90, icc_profile=plain),
        "profile_grey.jpg": encoded(grey, "JPEG", quality=90, icc_profile=grey_profile()),
        "profile_cmyk.jpg": encoded(inks, "JPEG", quality=90, icc_profile=cmyk_profile()),
        "profile_wrong.jpg": encoded(rgb, "JPEG", quality=90, icc_profile=grey_profile()),
        "profile_broken.jpg": encoded(rgb, "JPEG", quality=90, icc_profile=wide[:150]),
        "profile.png": encoded(rgb, "PNG", icc_profile=wide),
        "profile_alpha.png": encoded(alpha, "PNG", icc_profile=wide),
        "profile_grey.png": encoded(grey, "PNG", icc_profile=grey_profile()),
        "profile_palette.png": encoded(rgb.quantize(30), "PNG", icc_profile=wide),
        "profile_srgb.png": encoded(rgb, "PNG", icc_profile=plain),
        "profile.webp": encoded(rgb, "WEBP", lossless=True, icc_profile=wide),
        "profile_alpha.webp": encoded(alpha, "WEBP", lossless=True, exact=True, icc_profile=wide),
    }


def box_forms(encoded):
    """AVIF by Pillow. HEIC by libheif's own tool: what was put in is what is expected."""
    from image_files import blocks

    image = blocks()
    alpha = image.copy()
    alpha.putalpha(Image.fromarray(noise(48, 32, 29)[..., 0]))
    smooth = Image.fromarray(gradient(64, 48))
    forms = {
        "smooth.avif": encoded(smooth, "AVIF", quality=95, subsampling="4:4:4"),
        "turned.avif": encoded(smooth, "AVIF", quality=95, subsampling="4:4:4", exif=turned()),
    }
    heic = {}
    for name, picture in (("smooth.heic", smooth),):
        with tempfile.TemporaryDirectory() as folder:
            source, target = Path(folder) / "in.png", Path(folder) / "out.heic"
            picture.save(source)
            run(["heif-enc", "-L", "-p", "chroma=444", str(source), "-o", str(target)])
            heic[name] = (target.read_bytes(), picture)
    return forms, heic


def turned():
    exif = Image.Exif()
    exif[274] = 6
    return exif.tobytes()

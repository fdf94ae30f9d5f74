"""tests/fixtures/pillow/files: encoded pictures, and the upright RGB that Pillow reads."""

import hashlib
import io
import shutil
import struct
import sys
import zlib
from pathlib import Path

import numpy as np
from PIL import Image, ImageCms, ImageOps

from picture_forms import box_forms, bmp_forms, portable_forms, profiled_forms, tiff_forms
from pictures import gradient, noise
from rows import made_with, write_rows

ADAM7 = [
    (0, 0, 8, 8),
    (4, 0, 8, 8),
    (0, 4, 4, 8),
    (2, 0, 4, 4),
    (0, 2, 2, 4),
    (1, 0, 2, 2),
    (0, 1, 1, 2),
]


def png(samples, depth, colour_type, palette=None, transparency=None, interlaced=False):
    """A PNG of any form; samples is [height, width, channels] of whole numbers below 2^depth."""
    height, width, _ = samples.shape
    passes = ADAM7 if interlaced else [(0, 0, 1, 1)]
    raw = b"".join(packed_rows(samples[y::dy, x::dx], depth) for x, y, dx, dy in passes)
    header = struct.pack(">IIBBBBB", width, height, depth, colour_type, 0, 0, int(interlaced))
    chunks = [(b"IHDR", header)]
    if palette is not None:
        chunks.append((b"PLTE", palette.astype(np.uint8).tobytes()))
    if transparency is not None:
        chunks.append((b"tRNS", transparency))
    chunks += [(b"IDAT", zlib.compress(raw, 9)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*each) for each in chunks)


def packed_rows(samples, depth):
    """Rows with filter type 0."""
    if samples.size == 0:
        return b""
    rows = samples.reshape(samples.shape[0], -1)
    if depth == 16:
        return b"".join(b"\0" + row.astype(">u2").tobytes() for row in rows)
    if depth == 8:
        return b"".join(b"\0" + row.astype(np.uint8).tobytes() for row in rows)
    bits = (rows[..., None] >> np.arange(depth - 1, -1, -1)) & 1
    return b"".join(b"\0" + np.packbits(row.reshape(-1)).tobytes() for row in bits)


def chunk(kind, content):
    return (
        struct.pack(">I", len(content))
        + kind
        + content
        + struct.pack(">I", zlib.crc32(kind + content))
    )


def png_forms():
    """Every colour type and depth, plain and interlaced, with and without transparency."""
    rng = np.random.default_rng(7)
    palette = rng.integers(0, 256, (256, 3))
    forms = {}
    channels = {
        "grey": (0, 1, (1, 2, 4, 8, 16)),
        "rgb": (2, 3, (8, 16)),
        "palette": (3, 1, (1, 2, 4, 8)),
        "grey_alpha": (4, 2, (8, 16)),
        "rgba": (6, 4, (8, 16)),
    }
    for name, (colour_type, count, depths) in channels.items():
        for depth in depths:
            samples = rng.integers(0, 2**depth, (9, 13, count))
            table = palette[: 2**depth] if name == "palette" else None
            for interlaced in (False, True):
                suffix = "_interlaced" if interlaced else ""
                forms[f"{name}_{depth}{suffix}.png"] = png(
                    samples, depth, colour_type, table, None, interlaced
                )
    samples = rng.integers(0, 16, (9, 13, 1))
    forms["palette_4_transparent.png"] = png(samples, 4, 3, palette[:16], bytes([0, 128, 255, 3]))
    forms["grey_8_transparent.png"] = png(samples * 17, 8, 0, None, struct.pack(">H", 51))
    forms["rgb_8_transparent.png"] = png(
        np.repeat(samples * 17, 3, -1), 8, 2, None, struct.pack(">HHH", 51, 51, 51)
    )
    return forms


def blocks():
    """Flat blocks of 16 pixels: with halved colour resolution none bleeds into the next."""
    colours = np.array(
        [
            [[230, 30, 30], [30, 200, 30], [40, 40, 220]],
            [[240, 240, 240], [20, 20, 20], [220, 200, 40]],
        ],
        np.uint8,
    )
    return Image.fromarray(colours.repeat(16, 0).repeat(16, 1))


def encoded(image, kind, **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def exif(orientation):
    tags = Image.Exif()
    tags[0x0112] = orientation
    return tags.tobytes()


def big_endian_exif(orientation):
    entry = struct.pack(">HHIHH", 0x0112, 3, 1, orientation, 0)
    return b"Exif\0\0MM\0*\0\0\0\x08" + struct.pack(">H", 1) + entry + b"\0\0\0\0"


def long_exif(orientation):
    """The tag as a 32-bit number, which some cameras write."""
    entry = struct.pack(">HHII", 0x0112, 4, 1, orientation)
    return b"Exif\0\0MM\0*\0\0\0\x08" + struct.pack(">H", 1) + entry + b"\0\0\0\0"


def xmp(orientation):
    return f'<x:xmpmeta><rdf:Description tiff:Orientation="{orientation}"/></x:xmpmeta>'.encode()


def with_chunk(png_bytes, kind, data):
    """Before the pixels."""
    start = png_bytes.index(b"IDAT") - 4
    return png_bytes[:start] + chunk(kind, data) + png_bytes[start:]


def raw_profile(orientation):
    """EXIF as ImageMagick writes it into a text chunk."""
    data = exif(orientation).hex()
    lines = "\n".join(data[at : at + 72] for at in range(0, len(data), 72))
    return f"\nexif\n{len(data) // 2:8}\n{lines}\n".encode()


def with_xmp_text(png_bytes, orientation):
    """The packet in an iTXt chunk behind the pixels."""
    data = b"XML:com.adobe.xmp" + bytes(5) + xmp(orientation)
    end = png_bytes.rindex(b"IEND") - 4
    return png_bytes[:end] + chunk(b"iTXt", data) + png_bytes[end:]


def jpeg_forms():
    image = blocks()
    forms = {
        f"orientation_{n}.jpg": encoded(image, "JPEG", quality=95, exif=exif(n))
        for n in range(1, 9)
    }
    forms["orientation_6_big_endian.jpg"] = encoded(
        image, "JPEG", quality=95, exif=big_endian_exif(6)
    )
    forms["orientation_6_long.jpg"] = encoded(image, "JPEG", quality=95, exif=long_exif(6))
    forms["orientation_6_xmp.jpg"] = encoded(image, "JPEG", quality=95, xmp=xmp(6))
    forms["orientation_8_exif_6_xmp.jpg"] = encoded(
        image, "JPEG", quality=95, exif=exif(8), xmp=xmp(6)
    )
    forms["orientation_0.jpg"] = encoded(image, "JPEG", quality=95, exif=exif(0))
    forms["orientation_9.jpg"] = encoded(image, "JPEG", quality=95, exif=exif(9))
    forms["progressive.jpg"] = encoded(image, "JPEG", quality=90, progressive=True)
    forms["subsampled_411.jpg"] = encoded(image, "JPEG", quality=90, subsampling=2)
    forms["grey.jpg"] = encoded(image.convert("L"), "JPEG", quality=90)
    smooth, rough = Image.fromarray(gradient(37, 23)), Image.fromarray(noise(37, 23, 8))
    for name, source in (("smooth", smooth), ("noise", rough)):
        for subsampling in (444, 422, 420):
            forms[f"{name}_{subsampling}.jpg"] = encoded(
                source, "JPEG", quality=75, subsampling=":".join(str(subsampling))
            )
        forms[f"{name}_progressive.jpg"] = encoded(source, "JPEG", quality=75, progressive=True)
    inks = np.concatenate([noise(37, 23, 9), noise(37, 23, 10)[..., :1]], -1)
    forms["noise_cmyk.jpg"] = encoded(Image.fromarray(inks, "CMYK"), "JPEG", quality=85)
    forms["cmyk.jpg"] = encoded(image.convert("CMYK"), "JPEG", quality=95)
    return forms


def other_forms():
    image = Image.fromarray(gradient(13, 9))
    alpha = Image.fromarray(np.concatenate([noise(13, 9, 1), noise(13, 9, 2)[..., :1]], -1), "RGBA")
    few = Image.fromarray(gradient(20, 17)).quantize(7)  # Pillow interlaces no GIF under 16 pixels
    gif = encoded(few, "GIF", interlace=0)
    frames = [Image.fromarray(noise(13, 9, n)).quantize(16) for n in (3, 4)]
    return {
        "rotated.png": encoded(image, "PNG", exif=exif(6)),
        "rotated_xmp.png": with_xmp_text(encoded(image, "PNG"), 6),
        "rotated_raw_profile.png": with_chunk(
            encoded(image, "PNG"),
            b"zTXt",
            b"Raw profile type exif\0\0" + zlib.compress(raw_profile(6)),
        ),
        "rotated_raw_text.png": with_chunk(
            encoded(image, "PNG"), b"tEXt", b"Raw profile type exif\0" + raw_profile(3)
        ),
        "rotated_exif_mark.png": with_chunk(encoded(image, "PNG"), b"eXIf", exif(6)),
        "plain.gif": gif,
        "no_palette.gif": without_palette(gif),
        "interlaced.gif": encoded(few, "GIF", interlace=1),
        "transparent.gif": encoded(few, "GIF", transparency=2),
        "animated.gif": encoded(frames[0], "GIF", save_all=True, append_images=frames[1:]),
        "offset.gif": with_canvas(gif, 26, 23, left=3, top=4),
        "lossless.webp": encoded(image, "WEBP", lossless=True),
        "lossless_alpha.webp": encoded(alpha, "WEBP", lossless=True, exact=True),
        "rotated.webp": encoded(image, "WEBP", lossless=True, exif=exif(8)),
        "rotated_xmp.webp": encoded(image, "WEBP", lossless=True, xmp=xmp(8)),
        "animated.webp": encoded(
            Image.fromarray(noise(13, 9, 5)),
            "WEBP",
            lossless=True,
            save_all=True,
            append_images=[Image.fromarray(noise(13, 9, 6))],
        ),
        "lossy.webp": encoded(blocks(), "WEBP", quality=90),
        "lossy_noise.webp": encoded(Image.fromarray(noise(37, 23, 11)), "WEBP", quality=60),
        "lossy_alpha.webp": encoded(
            Image.fromarray(
                np.concatenate([gradient(37, 23), noise(37, 23, 12)[..., :1]], -1), "RGBA"
            ),
            "WEBP",
            quality=60,
        ),
    }


def without_palette(gif):
    """The same GIF without its global table."""
    entries = 2 << (gif[10] & 7)
    return gif[:10] + bytes([gif[10] & 0x70]) + gif[11:13] + gif[13 + 3 * entries :]


def with_canvas(gif, width, height, left, top):
    """The same GIF on a larger canvas than its first frame."""
    frame = gif.index(b"\x2c", 13)
    while struct.unpack_from("<HHHH", gif, frame + 1) != (0, 0, 20, 17):
        frame = gif.index(b"\x2c", frame + 1)
    content = bytearray(gif)
    struct.pack_into("<HH", content, 6, width, height)
    struct.pack_into("<HH", content, frame + 1, left, top)
    return bytes(content)


def shown(picture, profile):
    """As a viewer shows it: the profile to sRGB by ImageCms, then over white."""
    flat = picture.convert("RGB")
    alpha = None
    if picture.has_transparency_data:
        layered = picture.convert("RGBA")
        flat, alpha = layered.convert("RGB"), layered.getchannel("A")
    if profile:
        source = {"L": picture, "LA": picture.convert("L"), "CMYK": picture}.get(picture.mode, flat)
        try:
            changed = ImageCms.profileToProfile(
                source, io.BytesIO(profile), ImageCms.createProfile("sRGB"), outputMode="RGB"
            )
            moved = np.abs(np.asarray(changed, int) - np.asarray(flat, int)).max()
            flat = changed if moved > 2 else flat  # another spelling of sRGB
        except (ImageCms.PyCMSError, OSError):
            pass  # it does not fit, or is broken
    if alpha is None:
        return flat
    flat.putalpha(alpha)
    white = Image.new("RGBA", flat.size, "white")
    return Image.alpha_composite(white, flat).convert("RGB")


def write_pixels(folder, picture):
    pixels = picture.tobytes()
    name = f"{hashlib.sha256(pixels).hexdigest()[:12]}.rgb"
    (folder / name).write_bytes(pixels)
    return name


def opened_upright(path):
    opened = Image.open(path)
    opened.load()
    if opened.mode.startswith("I"):
        # Pillow would clip all but the darkest 1/256 to white: take the high byte
        opened = Image.fromarray((np.asarray(opened) >> 8).astype(np.uint8))
    return ImageOps.exif_transpose(opened), opened.info.get("icc_profile")


# Of 255, where two decoders of one format may round apart.
TOLERANCES = {"avif": 2, "heic": 3}


def main(root):
    folder = Path(root) / "pillow" / "files"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    boxed, sources = box_forms(encoded)
    forms = {
        **png_forms(), **jpeg_forms(), **other_forms(), **tiff_forms(encoded, exif),
        **bmp_forms(encoded), **portable_forms(encoded), **profiled_forms(encoded), **boxed,
    }  # fmt: skip
    cases = []
    for name, content in {**forms, **{name: each[0] for name, each in sources.items()}}.items():
        (folder / name).write_bytes(content)
        if name in sources:
            upright, profile = sources[name][1], None
        else:
            upright, profile = opened_upright(folder / name)
        tolerance = TOLERANCES.get(name.rsplit(".")[-1], 0)
        seen = shown(upright, profile)
        stored = upright.convert("RGB")
        case = {
            "file": name,
            "width": stored.width,
            "height": stored.height,
            "tolerance": tolerance,
            "expected": write_pixels(folder, stored),
        }
        if seen.tobytes() != stored.tobytes():
            case["shown"] = write_pixels(folder, seen)
            # Two releases of Little CMS round some colours apart, more so between a table's steps.
            apart = 0 if not profile else 4 if upright.mode == "CMYK" else 1
            case["shown_tolerance"] = max(tolerance, apart)
        cases.append(case)
    write_rows(folder / "cases.json", {"made_with": made_with("pillow"), "cases": cases})
    print(f"{len(cases)} picture files")


if __name__ == "__main__":
    main(sys.argv[1])

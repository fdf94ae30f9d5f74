// Pictures from encoded bytes. Any thread may call; no global state.
#pragma once

#include <string>

#include "core/image.h"
#include "core/message.h"

namespace fovea::media {

// Decodes a JPEG, PNG, WebP, GIF (its first frame), TIFF (its first page), BMP, PNM, QOI, HEIC or
// AVIF; the format is told by the first bytes, never by a name. The result is upright (EXIF
// orientation applied) and RGB as Pillow's convert("RGB") gives it, after its ImageCms and over
// white for Colours::kShown; but 16-bit grey gives its high byte, where Pillow clips almost
// everything to white. Throws Error(kInvalidData) for bytes that are no such picture or end too
// early, Error(kTooLarge) before decoding when the header exceeds limits.h, and Error(kUnsupported)
// for a form or a library that is not there; all name the picture.
DecodedPicture decode_picture(const MediaBytes& media, Colours colours = Colours::kShown);

// The picture as a PNG of 8 bits a channel, for what is drawn here.
std::string encode_png(const Image& image);

}  // namespace fovea::media

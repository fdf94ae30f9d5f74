// Pictures from encoded bytes. Any thread may call.
#pragma once

#include <string>

#include "core/image.h"
#include "core/message.h"

namespace fovea::processors {

// Decodes a JPEG, PNG, WebP or GIF (its first frame); the format is told by the first bytes, never
// by a name. The result is upright (EXIF orientation applied) and RGB as Pillow's convert("RGB")
// gives it, transparency dropped; but 16-bit grey gives its high byte, where Pillow clips almost
// everything to white. Throws Error(kInvalidData) for bytes that are no such picture
// or end too early, and Error(kTooLarge) before decoding when the header exceeds limits.h; both
// name the picture.
Image decode_image(const MediaBytes& media);

// The picture as a PNG of 8 bits a channel, for what is drawn here.
std::string encode_png(const Image& image);

}  // namespace fovea::processors

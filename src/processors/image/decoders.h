// One decoder a format, and PNG's encoder, each file the only one that names its library. A decoder
// checks the size in the header through check_size before it allocates pixels. Any thread may call.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "core/image.h"
#include "core/message.h"

namespace fovea::processors::image {

struct Decoded {
  Image image;          // as stored, not turned
  int orientation = 1;  // of EXIF, 1 to 8
};

Decoded decode_jpeg(const MediaBytes& media);
Decoded decode_png(const MediaBytes& media);
Decoded decode_webp(const MediaBytes& media);
Decoded decode_gif(const MediaBytes& media);

std::string encode_png(const Image& image);

// A progressive JPEG may hold any number of scans, each a few bytes that cost a walk over the whole
// picture: whether so many stay within limits.h.
bool are_scans_within_limits(int scans, int64_t width, int64_t height);

// Throws Error(kTooLarge) beyond limits.h, Error(kInvalidData) for an empty picture.
void check_size(const std::string& name, int64_t width, int64_t height);

// Throws Error(kInvalidData): "[picture] expected a whole {format} in '{name}' but got {reason}".
[[noreturn]] void fail_decoding(const std::string& name, const std::string& format,
                                const std::string& reason);

// The orientation that an EXIF block (with or without its "Exif" mark) tells, else an XMP packet,
// as Pillow reads them; 1 when neither does. Either may be empty.
int orientation_of(std::string_view exif, std::string_view xmp);

}  // namespace fovea::processors::image

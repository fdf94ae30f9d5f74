// One decoder a format, and PNG's encoder, each file the only one that names its library. A decoder
// checks the size in the header through check_size before it allocates pixels. Any thread may call.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "core/image.h"
#include "core/message.h"

namespace fovea::media::picture {

// As stored, not turned.
struct Decoded {
  Image image;               // RGB; of inks its size alone
  PageVector<uint8_t> inks;  // cyan, magenta, yellow and black of each pixel; 255 is all of it
  // Of each pixel, 0 where nothing is to be seen; empty where all is, or nobody asked.
  PageVector<uint8_t> alpha;
  std::string profile;  // ICC's, of the colours, the grey or the inks
  bool grey = false;    // the three channels are one
  int orientation = 1;  // of EXIF, 1 to 8
  std::vector<std::string> changes;
};

// `with_alpha` is whether transparency is wanted.
Decoded decode_jpeg(const MediaBytes& media, bool with_alpha);
Decoded decode_png(const MediaBytes& media, bool with_alpha);
Decoded decode_webp(const MediaBytes& media, bool with_alpha);
Decoded decode_gif(const MediaBytes& media, bool with_alpha);
Decoded decode_tiff(const MediaBytes& media, bool with_alpha);
Decoded decode_heif(const MediaBytes& media, bool with_alpha);
Decoded decode_bmp(const MediaBytes& media, bool with_alpha);
Decoded decode_pnm(const MediaBytes& media, bool with_alpha);
Decoded decode_qoi(const MediaBytes& media, bool with_alpha);

// Whether bytes of a box format begin a HEIC or AVIF picture.
bool is_heif(std::string_view bytes);

// The picture's RGB: inks as Pillow converts them, and for Colours::kShown a profile to sRGB and
// transparency over white; tells what it did in `changes`.
Image to_rgb(Decoded&& decoded, Colours colours, std::vector<std::string>& changes);

// Takes the fourth channel away: RGBA pixels become RGB, and `alpha` unless all of it is 255.
void split_alpha(PageVector<uint8_t>& rgba, PageVector<uint8_t>& alpha);

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

}  // namespace fovea::media::picture

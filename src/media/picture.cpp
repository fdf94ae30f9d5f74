#include "media/picture.h"

#include <algorithm>
#include <array>
#include <cctype>

#include "base/error.h"
#include "base/printable.h"
#include "core/limits.h"
#include "media/picture/decoders.h"
#include "media/upright.h"

namespace fovea::media {
namespace {

using picture::Decoded;
using std::string_view_literals::operator""sv;

struct Format {
  const char* name;
  bool (*fits)(std::string_view bytes);
  Decoded (*decode)(const MediaBytes& media, bool with_alpha);
};

bool is_tiff(std::string_view b) {
  return b.starts_with("II*\0"sv) || b.starts_with("MM\0*"sv) || b.starts_with("II+\0"sv) ||
         b.starts_with("MM\0+"sv);
}

// "BM" begins words too: the size of the header that follows is one of those that there are.
bool is_bmp(std::string_view b) {
  constexpr std::array kHeaders = {12, 16, 40, 52, 56, 64, 108, 124};
  if (b.size() < 18 || !b.starts_with("BM") || b[15] || b[16] || b[17]) return false;
  return std::find(kHeaders.begin(), kHeaders.end(), static_cast<uint8_t>(b[14])) != kHeaders.end();
}

bool is_pnm(std::string_view b) {
  return b.size() >= 3 && b[0] == 'P' && b[1] >= '1' && b[1] <= '7' &&
         (std::isspace(static_cast<unsigned char>(b[2])) || b[2] == '#');
}

constexpr std::array kFormats = {
    Format{"jpeg", [](std::string_view b) { return b.starts_with("\xFF\xD8\xFF"); },
           picture::decode_jpeg},
    Format{"png", [](std::string_view b) { return b.starts_with("\x89PNG\r\n\x1A\n"); },
           picture::decode_png},
    Format{"webp",
           [](std::string_view b) {
             return b.size() >= 12 && b.starts_with("RIFF") && b.substr(8, 4) == "WEBP";
           },
           picture::decode_webp},
    Format{"gif",
           [](std::string_view b) { return b.starts_with("GIF87a") || b.starts_with("GIF89a"); },
           picture::decode_gif},
    Format{"tiff", is_tiff, picture::decode_tiff},
    Format{"heif", picture::is_heif, picture::decode_heif},
    Format{"bmp", is_bmp, picture::decode_bmp},
    Format{"pnm", is_pnm, picture::decode_pnm},
    Format{"qoi", [](std::string_view b) { return b.starts_with("qoif"); }, picture::decode_qoi},
};

}  // namespace

namespace picture {

void check_size(const std::string& name, int64_t width, int64_t height) {
  if (width < 1 || height < 1) {
    fail(ErrorKind::kInvalidData, "[picture] expected at least one pixel in '{}' but got {}x{}",
         name, width, height);
  }
  if (width > kPictureSideMax || height > kPictureSideMax || width * height > kPicturePixelsMax) {
    fail(ErrorKind::kTooLarge,
         "[picture] expected at most {} pixels and {} a side in '{}' but got {}x{}",
         kPicturePixelsMax, kPictureSideMax, name, width, height);
  }
}

void fail_decoding(const std::string& name, const std::string& format, const std::string& reason) {
  // A library's words may be several lines, or repeat what is in the file.
  std::string line = printable(reason.substr(0, reason.find('\n')));
  while (line.ends_with(' ')) line.pop_back();
  fail(ErrorKind::kInvalidData, "[picture] expected a whole {} in '{}' but got {}", format, name,
       line);
}

}  // namespace picture

std::string encode_png(const Image& image) { return picture::encode_png(image); }

DecodedPicture decode_picture(const MediaBytes& media, Colours colours) {
  if (media.bytes.empty()) {
    fail(ErrorKind::kInvalidData, "[picture] expected a picture in '{}' but got 0 bytes",
         media.name);
  }
  if (media.bytes.size() > kPictureBytesMax) {
    fail(ErrorKind::kTooLarge, "[picture] expected at most {} bytes in '{}' but got {}",
         kPictureBytesMax, media.name, media.bytes.size());
  }
  for (const auto& format : kFormats) {
    if (!format.fits(media.bytes)) continue;
    Decoded decoded = format.decode(media, colours == Colours::kShown);
    DecodedPicture out;
    out.facts = {format.name, decoded.image.size, decoded.orientation, std::move(decoded.changes),
                 media.page,  media.pages};
    const int orientation = decoded.orientation;
    out.image =
        upright(picture::to_rgb(std::move(decoded), colours, out.facts.changes), orientation);
    return out;
  }
  fail(ErrorKind::kInvalidData,
       "[picture] expected a JPEG, PNG, WebP, GIF, TIFF, BMP, PNM, QOI, HEIC or AVIF in '{}' but "
       "got something else",
       media.name);
}

}  // namespace fovea::media

#include "processors/image.h"

#include <array>

#include "base/error.h"
#include "core/limits.h"
#include "media/upright.h"
#include "processors/image/decoders.h"

namespace fovea::processors {
namespace {

using image::Decoded;

struct Format {
  bool (*fits)(std::string_view bytes);
  Decoded (*decode)(const MediaBytes& media);
};

constexpr std::array kFormats = {
    Format{[](std::string_view b) { return b.starts_with("\xFF\xD8\xFF"); }, image::decode_jpeg},
    Format{[](std::string_view b) { return b.starts_with("\x89PNG\r\n\x1A\n"); },
           image::decode_png},
    Format{[](std::string_view b) {
             return b.size() >= 12 && b.starts_with("RIFF") && b.substr(8, 4) == "WEBP";
           },
           image::decode_webp},
    Format{[](std::string_view b) { return b.starts_with("GIF87a") || b.starts_with("GIF89a"); },
           image::decode_gif},
};

}  // namespace

namespace image {

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
  fail(ErrorKind::kInvalidData, "[picture] expected a whole {} in '{}' but got {}", format, name,
       reason);
}

}  // namespace image

std::string encode_png(const Image& image) { return image::encode_png(image); }

Image decode_image(const MediaBytes& media) {
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
    Decoded decoded = format.decode(media);
    return media::upright(std::move(decoded.image), decoded.orientation);
  }
  fail(ErrorKind::kInvalidData,
       "[picture] expected a JPEG, PNG, WebP or GIF in '{}' but got something else", media.name);
}

}  // namespace fovea::processors

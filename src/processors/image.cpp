#include "processors/image.h"

#include <algorithm>
#include <array>

#include "base/error.h"
#include "base/thread_pool.h"
#include "core/limits.h"
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

// Where an upright picture's pixels stand in the stored one: `start` and steps, in pixels.
struct Walk {
  int64_t start;
  int64_t right;
  int64_t down;
};

// EXIF orientations 5 to 8 swap the sides.
Walk walk_of(int orientation, Size stored) {
  const bool mirrored =
      orientation == 2 || orientation == 3 || orientation == 7 || orientation == 8;
  const bool upside_down =
      orientation == 3 || orientation == 4 || orientation == 6 || orientation == 7;
  const int64_t width = stored.width;
  const int64_t column = mirrored ? -1 : 1;
  const int64_t row = upside_down ? -width : width;
  const int64_t start =
      (mirrored ? width - 1 : 0) + (upside_down ? (stored.height - 1) * width : 0);
  return orientation >= 5 ? Walk{start, row, column} : Walk{start, column, row};
}

// In squares, so that the stored rows which a square meets stay in the cache.
Image upright(Image stored, int orientation) {
  if (orientation < 2 || orientation > 8) return stored;
  constexpr int kSquare = 64;
  const Walk walk = walk_of(orientation, stored.size);
  Image out;
  out.size = orientation >= 5 ? Size{stored.size.height, stored.size.width} : stored.size;
  out.rgb.resize(stored.rgb.size());
  const int width = out.size.width;
  const int height = out.size.height;
  const auto put_square = [&](int left, int top) {
    for (int y = top; y < std::min(height, top + kSquare); ++y) {
      const uint8_t* from =
          stored.rgb.data() + 3 * (walk.start + y * walk.down + left * walk.right);
      uint8_t* to = out.rgb.data() + 3 * (int64_t{y} * width + left);
      for (int x = left; x < std::min(width, left + kSquare); ++x) {
        to[0] = from[0];
        to[1] = from[1];
        to[2] = from[2];
        to += 3;
        from += 3 * walk.right;
      }
    }
  };
  parallel_for((height + kSquare - 1) / kSquare, 1, [&](int begin, int end) {
    for (int row = begin; row < end; ++row) {
      for (int left = 0; left < width; left += kSquare) put_square(left, row * kSquare);
    }
  });
  return out;
}

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
    return upright(std::move(decoded.image), decoded.orientation);
  }
  fail(ErrorKind::kInvalidData,
       "[picture] expected a JPEG, PNG, WebP or GIF in '{}' but got something else", media.name);
}

}  // namespace fovea::processors

#include "media/upright.h"

#include <algorithm>

#include "base/thread_pool.h"

namespace fovea::media {
namespace {

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

}  // namespace

Size upright_size(Size stored, int orientation) {
  return orientation >= 5 && orientation <= 8 ? Size{stored.height, stored.width} : stored;
}

// In squares, so that the stored rows which a square meets stay in the cache.
Image upright(Image stored, int orientation) {
  if (orientation < 2 || orientation > 8) return stored;
  constexpr int kSquare = 64;
  const Walk walk = walk_of(orientation, stored.size);
  Image out;
  out.size = upright_size(stored.size, orientation);
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

}  // namespace fovea::media

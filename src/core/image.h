// A decoded picture: 8-bit RGB, row-major, upright (EXIF orientation applied), no alpha.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "base/page_vector.h"

namespace fovea {

struct Size {
  int width = 0;   // pixels
  int height = 0;  // pixels
  int64_t area() const { return int64_t{width} * height; }
  bool operator==(const Size&) const = default;
};

struct Image {
  Size size;
  PageVector<uint8_t> rgb;  // size.height * size.width * 3
};

// What a picture's numbers mean when it is decoded.
enum class Colours {
  kShown,   // as a viewer shows it: a colour profile to sRGB, transparency over white
  kStored,  // as they stand in the file, without transparency, which is what mlx-vlm gives a model
};

// What decoding did to a picture; nothing is done to it silently.
struct PictureFacts {
  std::string format;                // "jpeg", "png", ...
  Size stored;                       // as encoded, before it was turned
  int orientation = 1;               // EXIF's, 1 to 8, undone
  std::vector<std::string> changes;  // one sentence each, in order
  int page = 0;                      // of a document, from 1, and how many that has
  int pages = 0;
};

struct DecodedPicture {
  Image image;
  PictureFacts facts;
};

}  // namespace fovea

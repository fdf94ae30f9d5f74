// Pictures as cameras and screens make them, encoded: smooth light, edges and some noise, about 3
// bits a pixel as JPEG.
#pragma once

#include <string>

#include "core/image.h"

namespace fovea::bench {

Image scene(Size size);

std::string as_jpeg(const Image& image);         // quality 90, colours at half resolution
std::string as_turned_jpeg(const Image& image);  // the same, as a camera held upright stores it
std::string as_png(const Image& image);
std::string as_wide_jpeg(const Image& image);  // with a profile of wider colours than sRGB's
std::string as_clear_png(const Image& image);  // half transparent
std::string as_tiff(const Image& image);       // LZW, in strips
std::string as_webp(const Image& image);       // lossy, quality 80

// The library alone, into memory that is there: what decoding costs at least.
void plain_jpeg(const std::string& bytes, Image& to);
void plain_png(const std::string& bytes, Image& to);
void plain_clear_png(const std::string& bytes, Image& to);
void plain_tiff(const std::string& bytes, Image& to);
void plain_webp(const std::string& bytes, Image& to);

}  // namespace fovea::bench

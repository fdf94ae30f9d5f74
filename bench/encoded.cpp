#include "encoded.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
// jpeglib.h needs FILE before it.
#include <jpeglib.h>
#include <spng.h>
#include <webp/decode.h>
#include <webp/encode.h>

#include <stdexcept>

namespace fovea::bench {
namespace {

void check(bool good, const char* what) {
  if (!good) throw std::runtime_error(what);
}

// Bytes that a library allocated.
std::string taken(void* data, size_t size) {
  std::string bytes(static_cast<char*>(data), size);
  std::free(data);
  return bytes;
}

}  // namespace

Image scene(Size size) {
  Image image;
  image.size = size;
  image.rgb.reserve(size_t{3} * static_cast<size_t>(size.width) * static_cast<size_t>(size.height));
  uint32_t state = 1;
  for (int y = 0; y < size.height; ++y) {
    const double v = y / double(size.height);
    for (int x = 0; x < size.width; ++x) {
      const double u = x / double(size.width);
      const double light = 90 + 60 * u + 50 * v;
      const int edge = (x / 97 + y / 61) % 5 == 0 ? 40 : 0;
      for (int c = 0; c < 3; ++c) {
        state = state * 1664525 + 1013904223;
        const int noise = static_cast<int>(state >> 27) - 16;
        image.rgb.push_back(static_cast<uint8_t>(
            std::clamp(static_cast<int>(light) + edge - 20 * c + noise, 0, 255)));
      }
    }
  }
  return image;
}

namespace {

std::string jpeg_with(const Image& image, const std::string& exif) {
  jpeg_compress_struct jpeg{};
  jpeg_error_mgr errors{};
  jpeg.err = jpeg_std_error(&errors);
  jpeg_create_compress(&jpeg);
  unsigned char* data = nullptr;
  unsigned long size = 0;
  jpeg_mem_dest(&jpeg, &data, &size);
  jpeg.image_width = static_cast<JDIMENSION>(image.size.width);
  jpeg.image_height = static_cast<JDIMENSION>(image.size.height);
  jpeg.input_components = 3;
  jpeg.in_color_space = JCS_RGB;
  jpeg_set_defaults(&jpeg);
  jpeg_set_quality(&jpeg, 90, TRUE);
  jpeg_start_compress(&jpeg, TRUE);
  if (!exif.empty()) {
    jpeg_write_marker(&jpeg, JPEG_APP0 + 1, reinterpret_cast<const JOCTET*>(exif.data()),
                      static_cast<unsigned>(exif.size()));
  }
  while (jpeg.next_scanline < jpeg.image_height) {
    auto* row =
        const_cast<uint8_t*>(image.rgb.data()) + size_t{3} * jpeg.next_scanline * jpeg.image_width;
    jpeg_write_scanlines(&jpeg, &row, 1);
  }
  jpeg_finish_compress(&jpeg);
  jpeg_destroy_compress(&jpeg);
  return taken(data, size);
}

}  // namespace

std::string as_jpeg(const Image& image) { return jpeg_with(image, ""); }

std::string as_turned_jpeg(const Image& image) {
  using std::string_literals::operator""s;
  // One entry: orientation (0x112), a short, once, 6.
  return jpeg_with(image,
                   "Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0"s);
}

std::string as_png(const Image& image) {
  spng_ctx* png = spng_ctx_new(SPNG_CTX_ENCODER);
  spng_set_option(png, SPNG_ENCODE_TO_BUFFER, 1);
  spng_ihdr header{};
  header.width = static_cast<uint32_t>(image.size.width);
  header.height = static_cast<uint32_t>(image.size.height);
  header.bit_depth = 8;
  header.color_type = SPNG_COLOR_TYPE_TRUECOLOR;
  spng_set_ihdr(png, &header);
  spng_set_option(png, SPNG_IMG_COMPRESSION_LEVEL, 1);
  check(spng_encode_image(png, image.rgb.data(), image.rgb.size(), SPNG_FMT_PNG,
                          SPNG_ENCODE_FINALIZE) == 0,
        "png");
  size_t size = 0;
  int error = 0;
  void* data = spng_get_png_buffer(png, &size, &error);
  check(data && error == 0, "png");
  spng_ctx_free(png);
  return taken(data, size);
}

std::string as_webp(const Image& image) {
  uint8_t* data = nullptr;
  const size_t size = WebPEncodeRGB(image.rgb.data(), image.size.width, image.size.height,
                                    3 * image.size.width, 80, &data);
  check(size > 0, "webp");
  return taken(data, size);
}

void plain_jpeg(const std::string& bytes, Image& to) {
  jpeg_decompress_struct jpeg{};
  jpeg_error_mgr errors{};
  jpeg.err = jpeg_std_error(&errors);
  jpeg_create_decompress(&jpeg);
  jpeg_mem_src(&jpeg, reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size());
  jpeg_read_header(&jpeg, TRUE);
  jpeg_start_decompress(&jpeg);
  while (jpeg.output_scanline < jpeg.output_height) {
    JSAMPROW row = to.rgb.data() + size_t{3} * jpeg.output_scanline * jpeg.output_width;
    jpeg_read_scanlines(&jpeg, &row, 1);
  }
  jpeg_finish_decompress(&jpeg);
  jpeg_destroy_decompress(&jpeg);
}

void plain_png(const std::string& bytes, Image& to) {
  spng_ctx* png = spng_ctx_new(0);
  spng_set_png_buffer(png, bytes.data(), bytes.size());
  check(spng_decode_image(png, to.rgb.data(), to.rgb.size(), SPNG_FMT_RGB8, 0) == 0, "png");
  spng_ctx_free(png);
}

void plain_webp(const std::string& bytes, Image& to) {
  check(WebPDecodeRGBInto(reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size(),
                          to.rgb.data(), to.rgb.size(), 3 * to.size.width) != nullptr,
        "webp");
}

}  // namespace fovea::bench

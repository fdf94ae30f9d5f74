#include "encoded.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
// jpeglib.h needs FILE before it.
#include <jpeglib.h>
#include <lcms2.h>
#include <spng.h>
#include <tiffio.h>
#include <webp/decode.h>
#include <webp/encode.h>

#include <stdexcept>
#include <vector>

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

std::string jpeg_with(const Image& image, const std::string& exif,
                      const std::string& profile = "") {
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
  if (!profile.empty()) {
    jpeg_write_icc_profile(&jpeg, reinterpret_cast<const JOCTET*>(profile.data()),
                           static_cast<unsigned>(profile.size()));
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

std::string as_wide_jpeg(const Image& image) {
  const cmsCIExyY white{0.3127, 0.3290, 1};
  const cmsCIExyYTRIPLE primaries{{0.680, 0.320, 1}, {0.265, 0.690, 1}, {0.150, 0.060, 1}};
  cmsToneCurve* curve = cmsBuildGamma(nullptr, 2.2);
  cmsToneCurve* curves[] = {curve, curve, curve};
  cmsHPROFILE profile = cmsCreateRGBProfile(&white, &primaries, curves);
  cmsUInt32Number size = 0;
  cmsSaveProfileToMem(profile, nullptr, &size);
  std::string bytes(size, '\0');
  cmsSaveProfileToMem(profile, bytes.data(), &size);
  cmsCloseProfile(profile);
  cmsFreeToneCurve(curve);
  return jpeg_with(image, "", bytes);
}

namespace {

std::string png_of(const Image& image, const std::vector<uint8_t>& samples, spng_color_type type) {
  spng_ctx* png = spng_ctx_new(SPNG_CTX_ENCODER);
  spng_set_option(png, SPNG_ENCODE_TO_BUFFER, 1);
  spng_ihdr header{};
  header.width = static_cast<uint32_t>(image.size.width);
  header.height = static_cast<uint32_t>(image.size.height);
  header.bit_depth = 8;
  header.color_type = static_cast<uint8_t>(type);
  spng_set_ihdr(png, &header);
  spng_set_option(png, SPNG_IMG_COMPRESSION_LEVEL, 1);
  check(spng_encode_image(png, samples.data(), samples.size(), SPNG_FMT_PNG,
                          SPNG_ENCODE_FINALIZE) == 0,
        "png");
  size_t size = 0;
  int error = 0;
  void* data = spng_get_png_buffer(png, &size, &error);
  check(data && error == 0, "png");
  spng_ctx_free(png);
  return taken(data, size);
}

}  // namespace

std::string as_png(const Image& image) {
  return png_of(image, {image.rgb.begin(), image.rgb.end()}, SPNG_COLOR_TYPE_TRUECOLOR);
}

std::string as_clear_png(const Image& image) {
  std::vector<uint8_t> rgba;
  for (size_t i = 0; i < image.rgb.size(); i += 3) {
    rgba.insert(rgba.end(), image.rgb.begin() + static_cast<std::ptrdiff_t>(i),
                image.rgb.begin() + static_cast<std::ptrdiff_t>(i) + 3);
    rgba.push_back(static_cast<uint8_t>(i / 3));
  }
  return png_of(image, rgba, SPNG_COLOR_TYPE_TRUECOLOR_ALPHA);
}

namespace {

// A TIFF in memory.
struct TiffBytes {
  std::string bytes;
  size_t at = 0;
};

tmsize_t read_tiff(thandle_t handle, void* to, tmsize_t count) {
  auto* file = static_cast<TiffBytes*>(handle);
  const size_t got = std::min(static_cast<size_t>(count), file->bytes.size() - file->at);
  std::copy_n(file->bytes.data() + file->at, got, static_cast<char*>(to));
  file->at += got;
  return static_cast<tmsize_t>(got);
}
tmsize_t write_tiff(thandle_t handle, void* from, tmsize_t count) {
  auto* file = static_cast<TiffBytes*>(handle);
  const auto size = static_cast<size_t>(count);
  if (file->bytes.size() < file->at + size) file->bytes.resize(file->at + size);
  std::copy_n(static_cast<char*>(from), size, file->bytes.data() + file->at);
  file->at += size;
  return count;
}
toff_t seek_tiff(thandle_t handle, toff_t offset, int from) {
  auto* file = static_cast<TiffBytes*>(handle);
  const size_t base = from == SEEK_SET ? 0 : from == SEEK_CUR ? file->at : file->bytes.size();
  return file->at = base + offset;
}
int close_tiff(thandle_t) { return 0; }
toff_t tiff_size(thandle_t handle) { return static_cast<TiffBytes*>(handle)->bytes.size(); }

TIFF* open_tiff(TiffBytes& file, const char* mode) {
  TIFF* tiff = TIFFClientOpen("bench", mode, &file, read_tiff, write_tiff, seek_tiff, close_tiff,
                              tiff_size, nullptr, nullptr);
  check(tiff != nullptr, "tiff");
  return tiff;
}

}  // namespace

std::string as_tiff(const Image& image) {
  TiffBytes file;
  TIFF* tiff = open_tiff(file, "wm");
  TIFFSetField(tiff, TIFFTAG_IMAGEWIDTH, image.size.width);
  TIFFSetField(tiff, TIFFTAG_IMAGELENGTH, image.size.height);
  TIFFSetField(tiff, TIFFTAG_BITSPERSAMPLE, 8);
  TIFFSetField(tiff, TIFFTAG_SAMPLESPERPIXEL, 3);
  TIFFSetField(tiff, TIFFTAG_PHOTOMETRIC, PHOTOMETRIC_RGB);
  TIFFSetField(tiff, TIFFTAG_PLANARCONFIG, PLANARCONFIG_CONTIG);
  TIFFSetField(tiff, TIFFTAG_COMPRESSION, COMPRESSION_LZW);
  TIFFSetField(tiff, TIFFTAG_ROWSPERSTRIP, 64);
  for (int y = 0; y < image.size.height; ++y) {
    auto* row = const_cast<uint8_t*>(image.rgb.data()) + int64_t{3} * y * image.size.width;
    check(TIFFWriteScanline(tiff, row, static_cast<uint32_t>(y)) == 1, "tiff");
  }
  TIFFClose(tiff);
  return file.bytes;
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

void plain_clear_png(const std::string& bytes, Image& to) {
  static std::vector<uint8_t> rgba;
  rgba.resize(to.rgb.size() / 3 * 4);
  spng_ctx* png = spng_ctx_new(0);
  spng_set_png_buffer(png, bytes.data(), bytes.size());
  check(spng_decode_image(png, rgba.data(), rgba.size(), SPNG_FMT_RGBA8, 0) == 0, "png");
  spng_ctx_free(png);
}

void plain_tiff(const std::string& bytes, Image& to) {
  TiffBytes file{bytes};
  TIFF* tiff = open_tiff(file, "rm");
  const tmsize_t size = TIFFStripSize(tiff);
  uint8_t* at = to.rgb.data();
  for (uint32_t strip = 0; strip < TIFFNumberOfStrips(tiff); ++strip, at += size) {
    const auto left = static_cast<tmsize_t>(to.rgb.data() + to.rgb.size() - at);
    check(TIFFReadEncodedStrip(tiff, strip, at, std::min(size, left)) > 0, "tiff");
  }
  TIFFClose(tiff);
}

void plain_webp(const std::string& bytes, Image& to) {
  check(WebPDecodeRGBInto(reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size(),
                          to.rgb.data(), to.rgb.size(), 3 * to.size.width) != nullptr,
        "webp");
}

}  // namespace fovea::bench

// JPEG through libjpeg-turbo.
#include <csetjmp>
#include <cstdio>
// jpeglib.h needs FILE before it.
#include <jerror.h>
#include <jpeglib.h>

#include <cstdlib>
#include <memory>

#include "core/limits.h"
#include "media/picture/decoders.h"

namespace fovea::media::picture {
namespace {

// libjpeg reports errors by calling a function that must not return: it jumps back to decode_jpeg's
// steps, which own nothing that would need a destructor.
struct ErrorState {
  jpeg_error_mgr base;
  std::jmp_buf back;
  char message[JMSG_LENGTH_MAX];
};

[[noreturn]] void on_error(j_common_ptr info) {
  auto* state = reinterpret_cast<ErrorState*>(info->err);
  state->base.format_message(info, state->message);
  std::longjmp(state->back, 1);
}

// A file that ends early is a warning to libjpeg, which then invents grey; to us it is an error.
void on_message(j_common_ptr info, int level) {
  if (level < 0 && info->err->msg_code == JWRN_JPEG_EOF) on_error(info);
}

// Called between rows of coefficients.
void on_progress(j_common_ptr info) {
  const auto* jpeg = reinterpret_cast<j_decompress_ptr>(info);
  const int scans = jpeg->input_scan_number;
  if (are_scans_within_limits(scans, jpeg->image_width, jpeg->image_height)) return;
  auto* state = reinterpret_cast<ErrorState*>(info->err);
  std::snprintf(state->message, sizeof(state->message), "more than %d scans of its size",
                scans - 1);
  std::longjmp(state->back, 1);
}

struct Reader {
  jpeg_decompress_struct info{};
  ErrorState errors{};
  jpeg_progress_mgr progress{};
};

bool read_header(Reader& r, const std::string& bytes) {
  r.info.err = jpeg_std_error(&r.errors.base);
  r.errors.base.error_exit = on_error;
  r.errors.base.emit_message = on_message;
  if (setjmp(r.errors.back)) return false;
  jpeg_create_decompress(&r.info);
  r.progress.progress_monitor = on_progress;
  r.info.progress = &r.progress;
  jpeg_mem_src(&r.info, reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size());
  jpeg_save_markers(&r.info, JPEG_APP0 + 1, 0xFFFF);
  jpeg_save_markers(&r.info, JPEG_APP0 + 2, 0xFFFF);
  jpeg_read_header(&r.info, TRUE);
  const bool cmyk = r.info.jpeg_color_space == JCS_CMYK || r.info.jpeg_color_space == JCS_YCCK;
  r.info.out_color_space = cmyk ? JCS_CMYK : JCS_RGB;
  return true;
}

bool read_pixels(Reader& r, uint8_t* to) {
  if (setjmp(r.errors.back)) return false;
  jpeg_start_decompress(&r.info);
  const size_t row_bytes =
      size_t{r.info.output_width} * static_cast<size_t>(r.info.output_components);
  while (r.info.output_scanline < r.info.output_height) {
    JSAMPROW row = to + r.info.output_scanline * row_bytes;
    jpeg_read_scanlines(&r.info, &row, 1);
  }
  jpeg_finish_decompress(&r.info);
  return true;
}

// Its pieces in order; empty where one is missing or twice there. Runs under its own jump.
std::string stored_profile(Reader& r) {
  JOCTET* data = nullptr;
  unsigned int size = 0;
  if (setjmp(r.errors.back)) return {};
  if (!jpeg_read_icc_profile(&r.info, &data, &size)) return {};
  const std::unique_ptr<JOCTET, decltype(&std::free)> owner(data, std::free);
  return size > kColourProfileBytesMax ? "" : std::string(reinterpret_cast<char*>(data), size);
}

int stored_orientation(const jpeg_decompress_struct& info) {
  std::string_view exif;
  std::string_view xmp;
  for (auto* marker = info.marker_list; marker; marker = marker->next) {
    const std::string_view data(reinterpret_cast<const char*>(marker->data), marker->data_length);
    if (data.starts_with("Exif") && exif.empty()) exif = data;
    if (data.starts_with("http://ns.adobe.com/xap/1.0/")) xmp = data;
  }
  return orientation_of(exif, xmp);
}

}  // namespace

bool are_scans_within_limits(int scans, int64_t width, int64_t height) {
  return scans <= kJpegScansMax && scans * width * height <= kJpegScanPixelsMax;
}

Decoded decode_jpeg(const MediaBytes& media, bool with_alpha) {
  Reader reader;
  const auto destroy = [](Reader* r) { jpeg_destroy_decompress(&r->info); };
  const std::unique_ptr<Reader, decltype(destroy)> guard(&reader, destroy);
  if (!read_header(reader, media.bytes)) fail_decoding(media.name, "JPEG", reader.errors.message);
  const auto& info = reader.info;
  check_size(media.name, info.image_width, info.image_height);
  Decoded out;
  out.image.size = {static_cast<int>(info.image_width), static_cast<int>(info.image_height)};
  out.orientation = stored_orientation(info);
  out.grey = info.num_components == 1;
  if (with_alpha) out.profile = stored_profile(reader);  // nobody else wants it either
  const bool cmyk = info.out_color_space == JCS_CMYK;
  auto& pixels = cmyk ? out.inks : out.image.rgb;
  pixels.resize(size_t{info.image_width} * info.image_height * (cmyk ? 4 : 3));
  if (!read_pixels(reader, pixels.data())) {
    fail_decoding(media.name, "JPEG", reader.errors.message);
  }
  // Stored inverted, as Adobe does and Pillow assumes.
  for (auto& ink : out.inks) ink = static_cast<uint8_t>(255 - ink);
  return out;
}

}  // namespace fovea::media::picture

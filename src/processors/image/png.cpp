// PNG through libspng.
#include <spng.h>

#include <memory>

#include "processors/image/decoders.h"
#include "processors/limits.h"

namespace fovea::processors::image {
namespace {

constexpr size_t kChunkBytesMax = size_t{16} << 20;  // of an ancillary chunk, and of all together

void check(int status, const std::string& name) {
  if (status != 0) fail_decoding(name, "PNG", spng_strerror(status));
}

}  // namespace

Decoded decode_png(const MediaBytes& media) {
  const std::unique_ptr<spng_ctx, decltype(&spng_ctx_free)> context(spng_ctx_new(0), spng_ctx_free);
  spng_ctx* png = context.get();
  check(spng_set_chunk_limits(png, kChunkBytesMax, kChunkBytesMax), media.name);
  check(spng_set_png_buffer(png, media.bytes.data(), media.bytes.size()), media.name);
  spng_ihdr header{};
  check(spng_get_ihdr(png, &header), media.name);
  check_size(media.name, header.width, header.height);
  size_t bytes = 0;
  check(spng_decoded_image_size(png, SPNG_FMT_RGB8, &bytes), media.name);
  Decoded out;
  out.image.size = {static_cast<int>(header.width), static_cast<int>(header.height)};
  out.image.rgb.resize(bytes);
  check(spng_decode_image(png, out.image.rgb.data(), bytes, SPNG_FMT_RGB8, 0), media.name);
  spng_exif exif{};
  if (spng_get_exif(png, &exif) == 0) {
    out.orientation = exif_orientation({exif.data, exif.length});
  }
  return out;
}

}  // namespace fovea::processors::image

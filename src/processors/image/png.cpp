// PNG through libspng.
#include <spng.h>

#include <memory>
#include <string_view>
#include <vector>

#include "core/limits.h"
#include "processors/image/decoders.h"

namespace fovea::processors::image {
namespace {

void check(int status, const std::string& name) {
  if (status != 0) fail_decoding(name, "PNG", spng_strerror(status));
}

// Both may stand behind the pixels; what cannot be read there is no reason to refuse them.
int stored_orientation(spng_ctx* png) {
  spng_decode_chunks(png);
  spng_exif exif{};
  if (spng_get_exif(png, &exif) != 0) exif = {};
  uint32_t count = 0;
  if (spng_get_text(png, nullptr, &count) != 0) count = 0;
  std::vector<spng_text> texts(count);
  if (count > 0 && spng_get_text(png, texts.data(), &count) != 0) texts.clear();
  std::string_view xmp;
  for (const auto& text : texts) {
    if (std::string_view(text.keyword) == "XML:com.adobe.xmp") xmp = {text.text, text.length};
  }
  return orientation_of({exif.data, exif.length}, xmp);
}

}  // namespace

Decoded decode_png(const MediaBytes& media) {
  const std::unique_ptr<spng_ctx, decltype(&spng_ctx_free)> context(spng_ctx_new(0), spng_ctx_free);
  spng_ctx* png = context.get();
  check(spng_set_chunk_limits(png, kPngChunkBytesMax, kPngChunkBytesMax), media.name);
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
  out.orientation = stored_orientation(png);
  return out;
}

}  // namespace fovea::processors::image

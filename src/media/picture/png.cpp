// PNG through libspng.
#include <spng.h>

#include <cctype>
#include <cstdlib>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/limits.h"
#include "media/picture/decoders.h"

namespace fovea::media::picture {
namespace {

// Of a PNG's colour type.
constexpr uint8_t kColourBit = 2;
constexpr uint8_t kAlphaBit = 4;

constexpr std::string_view kHexDigits = "0123456789abcdef";

void check(int status, const std::string& name) {
  if (status != 0) fail_decoding(name, "PNG", spng_strerror(status));
}

// The first chunk of this name. libspng refuses an eXIf that begins with EXIF's own mark.
std::string_view chunk_of(std::string_view png, std::string_view name) {
  constexpr size_t kSignature = 8;
  constexpr size_t kHead = 8;  // length, name
  constexpr size_t kChecksum = 4;
  for (size_t at = kSignature; at + kHead <= png.size();) {
    size_t size = 0;
    for (size_t i = 0; i < 4; ++i) size = size << 8 | static_cast<uint8_t>(png[at + i]);
    if (size > png.size() - at - kHead) break;
    if (png.substr(at + 4, 4) == name) return png.substr(at + kHead, size);
    at += kHead + size + kChecksum;
  }
  return {};
}

// ImageMagick's text form of a block: an empty line, its name, its size, then hexadecimal lines.
std::string from_raw_profile(std::string_view text) {
  for (int line = 0; line < 3; ++line) {
    const size_t end = text.find('\n');
    if (end == text.npos) return {};
    text.remove_prefix(end + 1);
  }
  std::string bytes;
  std::optional<size_t> high;
  for (const char c : text) {
    if (c == '\n') continue;
    const int lower = std::tolower(static_cast<unsigned char>(c));
    const size_t value = kHexDigits.find(static_cast<char>(lower));
    if (value == kHexDigits.npos) return {};
    if (high) bytes.push_back(static_cast<char>(*high << 4 | value));
    high = high ? std::nullopt : std::optional(value);
  }
  return bytes;
}

// All may stand behind the pixels; what cannot be read there is no reason to refuse them.
int stored_orientation(spng_ctx* png, std::string_view file) {
  spng_decode_chunks(png);
  uint32_t count = 0;
  if (spng_get_text(png, nullptr, &count) != 0) count = 0;
  std::vector<spng_text> texts(count);
  if (count > 0 && spng_get_text(png, texts.data(), &count) != 0) texts.clear();
  std::string exif(chunk_of(file, "eXIf"));
  std::string_view xmp;
  for (const auto& text : texts) {
    const std::string_view keyword = text.keyword;
    if (keyword == "XML:com.adobe.xmp") xmp = {text.text, text.length};
    if (keyword == "Raw profile type exif" && exif.empty()) {
      exif = from_raw_profile({text.text, text.length});
    }
  }
  return orientation_of(exif, xmp);
}

std::string stored_profile(spng_ctx* png) {
  spng_iccp profile{};
  if (spng_get_iccp(png, &profile) != 0 || profile.profile_len > kColourProfileBytesMax) return {};
  return {profile.profile, profile.profile_len};
}

}  // namespace

Decoded decode_png(const MediaBytes& media, bool with_alpha) {
  const std::unique_ptr<spng_ctx, decltype(&spng_ctx_free)> context(spng_ctx_new(0), spng_ctx_free);
  spng_ctx* png = context.get();
  check(spng_set_chunk_limits(png, kPngChunkBytesMax, kPngChunkBytesMax), media.name);
  check(spng_set_png_buffer(png, media.bytes.data(), media.bytes.size()), media.name);
  spng_ihdr header{};
  check(spng_get_ihdr(png, &header), media.name);
  check_size(media.name, header.width, header.height);
  spng_trns keys{};
  const bool keyed = spng_get_trns(png, &keys) == 0;
  const bool alpha = with_alpha && (keyed || (header.color_type & kAlphaBit));
  const auto format = alpha ? SPNG_FMT_RGBA8 : SPNG_FMT_RGB8;
  size_t bytes = 0;
  check(spng_decoded_image_size(png, format, &bytes), media.name);
  Decoded out;
  out.image.size = {static_cast<int>(header.width), static_cast<int>(header.height)};
  out.image.rgb.resize(bytes);
  check(spng_decode_image(png, out.image.rgb.data(), bytes, format, alpha ? SPNG_DECODE_TRNS : 0),
        media.name);
  if (alpha) split_alpha(out.image.rgb, out.alpha);
  out.grey = !(header.color_type & kColourBit);
  if (header.bit_depth == 16) out.changes.push_back("16 bits a channel to their high 8");
  if (with_alpha) out.profile = stored_profile(png);
  if (chunk_of(media.bytes, "acTL").size() == 8) {
    out.changes.push_back("first picture of an animation");
  }
  out.orientation = stored_orientation(png, media.bytes);
  return out;
}

std::string encode_png(const Image& image) {
  const std::string name = "a new picture";
  const std::unique_ptr<spng_ctx, decltype(&spng_ctx_free)> context(spng_ctx_new(SPNG_CTX_ENCODER),
                                                                    spng_ctx_free);
  spng_ctx* png = context.get();
  check(spng_set_option(png, SPNG_ENCODE_TO_BUFFER, 1), name);
  spng_ihdr header{};
  header.width = static_cast<uint32_t>(image.size.width);
  header.height = static_cast<uint32_t>(image.size.height);
  header.bit_depth = 8;
  header.color_type = SPNG_COLOR_TYPE_TRUECOLOR;
  check(spng_set_ihdr(png, &header), name);
  check(spng_encode_image(png, image.rgb.data(), image.rgb.size(), SPNG_FMT_PNG,
                          SPNG_ENCODE_FINALIZE),
        name);
  size_t size = 0;
  int error = 0;
  const std::unique_ptr<void, decltype(&std::free)> bytes(spng_get_png_buffer(png, &size, &error),
                                                          std::free);
  check(error, name);
  return {static_cast<const char*>(bytes.get()), size};
}

}  // namespace fovea::media::picture

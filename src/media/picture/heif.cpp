// HEIC and AVIF through libheif, loaded with the first of them: it brings three codecs along.
#include <dlfcn.h>
#include <libheif/heif.h>

#include <algorithm>
#include <array>
#include <memory>

#include "core/limits.h"
#include "media/picture/decoders.h"

namespace fovea::media::picture {
namespace {

#define FOVEA_HEIF(X)                             \
  X(heif_context_alloc)                           \
  X(heif_context_free)                            \
  X(heif_context_get_primary_image_handle)        \
  X(heif_context_read_from_memory_without_copy)   \
  X(heif_context_set_max_decoding_threads)        \
  X(heif_decode_image)                            \
  X(heif_image_get_plane_readonly)                \
  X(heif_image_get_height)                        \
  X(heif_image_get_width)                         \
  X(heif_image_handle_get_height)                 \
  X(heif_image_handle_get_ispe_height)            \
  X(heif_image_handle_get_ispe_width)             \
  X(heif_image_handle_get_luma_bits_per_pixel)    \
  X(heif_image_handle_get_raw_color_profile)      \
  X(heif_image_handle_get_raw_color_profile_size) \
  X(heif_image_handle_get_width)                  \
  X(heif_image_handle_has_alpha_channel)          \
  X(heif_image_handle_release)                    \
  X(heif_image_release)

struct Heif {
#define FOVEA_DECLARE(name) decltype(&::name) name = nullptr;
  FOVEA_HEIF(FOVEA_DECLARE)
#undef FOVEA_DECLARE
};

[[noreturn]] void fail_library(const std::string& name) {
  fail(ErrorKind::kUnsupported,
       "[picture] expected the library libheif (libheif1) to read the HEIC or AVIF '{}' but it is "
       "not there",
       name);
}

// The process's, loaded on the first call and never closed.
const Heif& heif(const std::string& name) {
  static const Heif functions = [&] {
    Heif heif;
    void* library = ::dlopen("libheif.so.1", RTLD_NOW | RTLD_LOCAL);
    if (!library) fail_library(name);
#define FOVEA_FIND(f)                                                \
  heif.f = reinterpret_cast<decltype(heif.f)>(::dlsym(library, #f)); \
  if (!heif.f) fail_library(name);
    FOVEA_HEIF(FOVEA_FIND)
#undef FOVEA_FIND
    return heif;
  }();
  return functions;
}

template <class T>
using Owner = std::unique_ptr<T, void (*)(T*)>;

void check(const heif_error& error, const MediaBytes& media) {
  if (error.code == heif_error_Ok) return;
  if (error.code == heif_error_Unsupported_filetype ||
      error.code == heif_error_Unsupported_feature ||
      error.code == heif_error_Decoder_plugin_error) {
    fail(ErrorKind::kUnsupported,
         "[picture] expected a HEIC or AVIF in '{}' whose codec libheif has but got another",
         media.name);
  }
  fail_decoding(media.name, "HEIC or AVIF", error.message);
}

std::string stored_profile(const Heif& h, const heif_image_handle* handle) {
  const size_t size = h.heif_image_handle_get_raw_color_profile_size(handle);
  if (size == 0 || size > kColourProfileBytesMax) return {};
  std::string profile(size, '\0');
  if (h.heif_image_handle_get_raw_color_profile(handle, profile.data()).code != heif_error_Ok) {
    profile.clear();
  }
  return profile;
}

}  // namespace

bool is_heif(std::string_view bytes) {
  constexpr std::array kBrands = {"heic", "heix", "heim", "heis", "hevc", "hevx",
                                  "mif1", "msf1", "avif", "avis", "mif2", "miaf"};
  if (bytes.size() < 12 || bytes.substr(4, 4) != "ftyp") return false;
  return std::find(kBrands.begin(), kBrands.end(), bytes.substr(8, 4)) != kBrands.end();
}

Decoded decode_heif(const MediaBytes& media, bool with_alpha) {
  const Heif& h = heif(media.name);
  const Owner<heif_context> context(h.heif_context_alloc(), h.heif_context_free);
  h.heif_context_set_max_decoding_threads(context.get(), 1);
  check(h.heif_context_read_from_memory_without_copy(context.get(), media.bytes.data(),
                                                     media.bytes.size(), nullptr),
        media);
  heif_image_handle* found = nullptr;
  check(h.heif_context_get_primary_image_handle(context.get(), &found), media);
  const Owner<const heif_image_handle> handle(found, h.heif_image_handle_release);
  check_size(media.name, h.heif_image_handle_get_ispe_width(found),
             h.heif_image_handle_get_ispe_height(found));
  check_size(media.name, h.heif_image_handle_get_width(found),
             h.heif_image_handle_get_height(found));
  const bool alpha = with_alpha && h.heif_image_handle_has_alpha_channel(found);
  heif_image* decoded = nullptr;
  check(h.heif_decode_image(found, &decoded, heif_colorspace_RGB,
                            alpha ? heif_chroma_interleaved_RGBA : heif_chroma_interleaved_RGB,
                            nullptr),
        media);
  const Owner<const heif_image> image(decoded, h.heif_image_release);
  Decoded out;
  out.image.size = {h.heif_image_get_width(decoded, heif_channel_interleaved),
                    h.heif_image_get_height(decoded, heif_channel_interleaved)};
  check_size(media.name, out.image.size.width, out.image.size.height);
  int stride = 0;
  const uint8_t* plane =
      h.heif_image_get_plane_readonly(decoded, heif_channel_interleaved, &stride);
  if (!plane) fail_decoding(media.name, "HEIC or AVIF", "no pixels");
  const size_t row_bytes = static_cast<size_t>(out.image.size.width) * (alpha ? 4 : 3);
  out.image.rgb.reserve(row_bytes * static_cast<size_t>(out.image.size.height));
  for (int y = 0; y < out.image.size.height; ++y) {
    const uint8_t* row = plane + int64_t{y} * stride;
    out.image.rgb.insert(out.image.rgb.end(), row, row + row_bytes);
  }
  if (alpha) split_alpha(out.image.rgb, out.alpha);
  if (with_alpha) out.profile = stored_profile(h, found);
  if (h.heif_image_handle_get_luma_bits_per_pixel(found) > 8) {
    out.changes.push_back("more than 8 bits a channel to 8");
  }
  return out;
}

}  // namespace fovea::media::picture

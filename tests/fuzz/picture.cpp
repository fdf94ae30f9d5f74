// Every sniffer, header and decoder of pictures, with what is done to their colours.
#include "media/picture.h"
#include "base/error.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const fovea::MediaBytes media{"p", {reinterpret_cast<const char*>(data), size}};
  for (const auto colours : {fovea::Colours::kShown, fovea::Colours::kStored}) {
    try {
      const auto picture = fovea::media::decode_picture(media, colours);
      if (picture.image.rgb.size() != static_cast<size_t>(3 * picture.image.size.area())) {
        __builtin_trap();
      }
    } catch (const fovea::Error&) {
    }
  }
  return 0;
}

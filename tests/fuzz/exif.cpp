// The orientation in EXIF blocks and XMP packets.
#include "media/picture/decoders.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  const size_t cut = size / 2;
  for (const int found :
       {fovea::media::picture::orientation_of(bytes, ""),
        fovea::media::picture::orientation_of("", bytes),
        fovea::media::picture::orientation_of(bytes.substr(0, cut), bytes.substr(cut))}) {
    if (found < 1 || found > 8) __builtin_trap();
  }
  return 0;
}

// Base64 and %-escapes.
#include "media/data_uri.h"
#include "base/error.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string text(reinterpret_cast<const char*>(data), size);
  for (const char* head : {"data:;base64,", "data:,", "data:"}) {
    try {
      const std::string bytes = fovea::media::from_data_uri(head + text);
      if (bytes.size() > size) __builtin_trap();
    } catch (const fovea::Error&) {
    }
  }
  return 0;
}

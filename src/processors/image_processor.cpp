#include "processors/image_processor.h"

#include "base/error.h"
#include "core/limits.h"

namespace fovea::processors {

void require_takeable(const PictureNeeds& needs, const std::string& name) {
  constexpr auto kMarkupMax = static_cast<int64_t>(kPromptBytesMax);
  if (needs.pixels <= needs.pixels_max && needs.tokens <= kPictureTokensMax &&
      needs.markup_bytes <= kMarkupMax) {
    return;
  }
  fail(ErrorKind::kTooLarge,
       "[picture] expected at most {} pixels, {} tokens and {} bytes of placeholders for '{}' but "
       "got {}, {} and {}",
       needs.pixels_max, kPictureTokensMax, kMarkupMax, name, needs.pixels, needs.tokens,
       needs.markup_bytes);
}

}  // namespace fovea::processors

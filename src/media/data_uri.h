// Bytes that stand in an address itself. Any thread may call.
#pragma once

#include <string>
#include <string_view>

namespace fovea::media {

// What a data: URI holds, base64 or percent-encoded. Throws Error(kInvalidData) for a broken one,
// Error(kTooLarge) beyond limits.h.
std::string from_data_uri(std::string_view uri);

// Text with its %XX undone. `kind` is what it belongs to, in the error's words.
std::string from_percent(std::string_view text, std::string_view kind);

}  // namespace fovea::media

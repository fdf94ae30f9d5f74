// Where a user's media come from. Any thread may call.
#pragma once

#include <string>

#include "core/message.h"

namespace fovea::processors {

// Bytes of a picture named by a path, a file: URL, "-" (standard input) or a data: URI (base64 or
// percent-encoded). Throws fovea::Error: kNotFound, kTooLarge beyond limits.h, kUnsupported for
// other schemes, kInvalidData for a broken URI.
MediaBytes load_media(const std::string& source);

}  // namespace fovea::processors

// Where a user's media come from. Any thread may call.
#pragma once

#include <string>

#include "core/message.h"

namespace fovea::processors {

// Bytes of a picture named by a path, a file: URL, "-" (standard input) or a data: URI (base64 or
// percent-encoded). Throws fovea::Error: kNotFound, kTooLarge beyond limits.h, kUnsupported for
// other schemes, kInvalidData for a broken URI.
MediaBytes load_media(const std::string& source);

// A video named so. A regular file is opened and not read; what comes through a pipe, standard
// input or a data: URI is held in memory.
VideoInput load_video(const std::string& source, const VideoSampling& sampling);

}  // namespace fovea::processors

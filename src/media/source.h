// Where a user's media come from: a path, a file: URL, "-" (standard input), a data: URI (base64 or
// percent-encoded), an http or https URL, "@clipboard". Any thread may call.
#pragma once

#include <memory>
#include <string>

#include "base/file.h"
#include "core/message.h"
#include "media/document.h"
#include "media/source_policy.h"

namespace fovea::media {

// An encoded medium of any kind: an open file, or bytes where there is none.
struct Opened {
  std::string name;  // what the user called it, for messages; a data: URI is not repeated
  std::string bytes;
  std::shared_ptr<const InputFile> file;
};

// Opens what `source` names. A regular file is opened and not read; what comes through a pipe,
// standard input, a URI or the web is held in memory, at most `bytes_max` of it. Throws
// fovea::Error: kNotFound, kTooLarge beyond that or limits.h, kUnsupported for other schemes and
// for what the policy does not allow, kInvalidData for a broken URI, and as fetch() does.
Opened open_source(const std::string& source, const SourcePolicy& policy, size_t bytes_max);

// A picture's bytes, at most those of limits.h. Throws as open_source() does.
MediaBytes load_media(const std::string& source, const SourcePolicy& policy);

// The same, and the chosen pages of a PDF as a picture each (media/document.h).
std::vector<MediaBytes> load_pictures(const std::string& source, const SourcePolicy& policy,
                                      const PageChoice& choice);

// A video; its bytes stay in the file where there is one.
VideoInput load_video(const std::string& source, const VideoSampling& sampling,
                      const SourcePolicy& policy);

}  // namespace fovea::media

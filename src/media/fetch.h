// A medium from the web. Any thread may call.
#pragma once

#include <string>

#include "media/source_policy.h"

namespace fovea::media {

// The bytes behind an http or https URL, at most `bytes_max` of them. Up to three redirects are
// followed, each checked like the first; https never leads to http. Throws Error(kUnsupported) for
// what the policy keeps away from, kInvalidArgument for a URL that is none, kInvalidData for an
// answer that is no medium, kNotFound (404 and 410), kTooLarge for too many bytes or seconds, and
// PassingError(kIo) for what trying again may help.
std::string fetch(const std::string& url, const SourcePolicy& policy, size_t bytes_max);

}  // namespace fovea::media

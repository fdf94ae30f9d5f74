// A transcript in the forms that people and players read. Any thread may call.
#pragma once

#include <string>

#include "core/transcript.h"

namespace fovea::speech {

std::string as_text(const Transcript& transcript);  // a line a segment
std::string as_srt(const Transcript& transcript);
std::string as_vtt(const Transcript& transcript);
// {"text", "language", "duration", "segments": [{"id", "start", "end", "text", ...}]}: the
// keys of OpenAI's verbose_json.
std::string as_json(const Transcript& transcript);

}  // namespace fovea::speech

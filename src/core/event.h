// What the engine tells about one request, in order. Every request ends with exactly one Finished
// or Failed.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/error.h"
#include "core/usage.h"

namespace fovea {

enum class FinishReason { kStop, kLength, kCancelled };

inline std::string_view to_string(FinishReason reason) {
  switch (reason) {
    case FinishReason::kStop:
      return "stop";
    case FinishReason::kLength:
      return "length";
    case FinishReason::kCancelled:
      return "cancelled";
  }
  return "";
}

// Prompt tokens processed so far: none when the request starts, then sent after each chunk.
struct PrefillProgress {
  int done = 0;
  int total = 0;
};

// New text (whole characters only, may be empty while a character is incomplete) and the ids that
// were sampled since the last event.
struct TextDelta {
  std::string text;
  std::vector<int32_t> token_ids;
};

struct Finished {
  FinishReason reason = FinishReason::kStop;
  Usage usage;
  Timings timings;
};

struct Failed {
  ErrorKind kind = ErrorKind::kInvalidData;
  std::string message;
};

using Event = std::variant<PrefillProgress, TextDelta, Finished, Failed>;

}  // namespace fovea

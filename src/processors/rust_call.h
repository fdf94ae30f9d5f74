// Calls through the Rust crates' C border, with errors as fovea::Error.
#pragma once

#include <fovea_rust.h>

#include <string>
#include <string_view>

#include "base/error.h"

namespace fovea::processors {

inline std::string taken(FoveaBytes bytes) {
  std::string text(bytes.data, bytes.size);
  fovea_free_bytes(bytes);
  return text;
}

// `call(&out, &error)` returns 0 and fills `out`, or fills `error`, which is then thrown as
// "[where] what: error".
template <class Out, class Call>
Out checked_call(std::string_view where, std::string_view what, Call call) {
  Out out{};
  FoveaBytes error{};
  if (call(&out, &error) == 0) return out;
  fail(ErrorKind::kInvalidData, "[{}] {}: {}", where, what, taken(error));
}

}  // namespace fovea::processors

// Numbers that people write: flags and environment variables. Any thread may call.
#pragma once

#include <charconv>
#include <string_view>
#include <type_traits>

#include "base/error.h"

namespace fovea {

// The whole of `text` as a number of [low, high]; a plus sign is allowed. Throws
// Error(kInvalidArgument) "[where] expected a whole number from LOW to HIGH but got 'TEXT'".
template <class T>
T parse_number(std::string_view where, std::string_view text, T low, T high) {
  const bool plus = text.size() > 1 && text[0] == '+' && text[1] != '-';
  const char* const begin = text.data() + (plus ? 1 : 0);
  const char* const end = text.data() + text.size();
  T value{};
  const auto [rest, error] = std::from_chars(begin, end, value);
  if (error == std::errc() && rest == end && value >= low && value <= high) return value;
  constexpr std::string_view kind = std::is_integral_v<T> ? "a whole number" : "a number";
  fail(ErrorKind::kInvalidArgument, "[{}] expected {} from {} to {} but got '{}'", where, kind, low,
       high, text);
}

}  // namespace fovea

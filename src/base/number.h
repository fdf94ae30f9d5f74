// Numbers that people write: flags and environment variables. Any thread may call.
#pragma once

#include <charconv>
#include <optional>
#include <string_view>
#include <type_traits>

#include "base/error.h"

namespace fovea {

// The whole of `text` as a number of [low, high], or nothing; a plus sign is allowed.
template <class T>
std::optional<T> read_number(std::string_view text, T low, T high) {
  if (text.size() > 1 && text[0] == '+' && text[1] != '-') text.remove_prefix(1);
  T value{};
  const char* const end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(text.data(), end, value);
  if (error != std::errc() || rest != end) return std::nullopt;
  return value >= low && value <= high ? std::optional(value) : std::nullopt;
}

// The same; throws Error(kInvalidArgument) "[where] expected a whole number from LOW to HIGH but
// got 'TEXT'" where there is nothing.
template <class T>
T parse_number(std::string_view where, std::string_view text, T low, T high) {
  if (const auto value = read_number(text, low, high)) return *value;
  constexpr std::string_view kind = std::is_integral_v<T> ? "a whole number" : "a number";
  fail(ErrorKind::kInvalidArgument, "[{}] expected {} from {} to {} but got '{}'", where, kind, low,
       high, text);
}

}  // namespace fovea

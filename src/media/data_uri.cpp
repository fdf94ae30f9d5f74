#include "media/data_uri.h"

#include <array>
#include <cctype>
#include <cstdint>

#include "base/error.h"
#include "core/limits.h"

namespace fovea::media {
namespace {

// Of each byte: its six bits, or -1. Both alphabets, the standard and the URL-safe one.
constexpr std::array<int16_t, 256> kSixBits = [] {
  std::array<int16_t, 256> table{};
  table.fill(-1);
  int16_t value = 0;
  for (const unsigned char c :
       std::string_view("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/")) {
    table[c] = value++;
  }
  table['-'] = 62;
  table['_'] = 63;
  return table;
}();

// `kind` is what the source is, "data: URI" or "file: URL".
[[noreturn]] void fail_uri(std::string_view kind, std::string_view reason) {
  fail(ErrorKind::kInvalidData, "[media] expected a whole {} but got {}", kind, reason);
}

// Padding is optional, white space skipped.
std::string from_base64(std::string_view text) {
  std::string bytes;
  uint32_t bits = 0;
  int held = 0;
  for (const unsigned char c : text) {
    if (c == '=' || std::isspace(c)) continue;
    const int value = kSixBits[c];
    if (value < 0) fail_uri("data: URI", "a character that is not base64");
    bits = bits << 6 | static_cast<uint32_t>(value);
    held += 6;
    if (held < 8) continue;
    held -= 8;
    bytes.push_back(static_cast<char>(bits >> held & 0xFF));
  }
  return bytes;
}

}  // namespace

std::string from_percent(std::string_view text, std::string_view kind) {
  std::string bytes;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      bytes.push_back(text[i]);
      continue;
    }
    const auto digit = [&](size_t at) {
      const char c = at < text.size() ? text[at] : '?';
      if (!std::isxdigit(static_cast<unsigned char>(c))) fail_uri(kind, "a broken % escape");
      return c <= '9' ? c - '0' : (c | 32) - 'a' + 10;
    };
    bytes.push_back(static_cast<char>(digit(i + 1) * 16 + digit(i + 2)));
    i += 2;
  }
  return bytes;
}

std::string from_data_uri(std::string_view uri) {
  const size_t comma = uri.find(',');
  if (comma == std::string_view::npos) fail_uri("data: URI", "no comma");
  const bool base64 = uri.substr(0, comma).ends_with(";base64");
  // Both encodings only ever shrink.
  if (uri.size() > kDataUriBytesMax) {
    fail(ErrorKind::kTooLarge, "[media] expected a data: URI of at most {} bytes but got {}",
         kDataUriBytesMax, uri.size());
  }
  const auto body = from_percent(uri.substr(comma + 1), "data: URI");
  return base64 ? from_base64(body) : body;
}

}  // namespace fovea::media

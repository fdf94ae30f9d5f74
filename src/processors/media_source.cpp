#include "processors/media_source.h"

#include <array>
#include <cctype>
#include <optional>

#include "base/error.h"
#include "base/file.h"
#include "core/limits.h"

namespace fovea::processors {
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

// What stands before the first colon, in lower case, if it can be the scheme of an address.
std::string scheme_of(std::string_view source) {
  const size_t colon = source.find(':');
  if (colon == source.npos || colon == 0) return "";
  std::string scheme;
  for (const unsigned char c : source.substr(0, colon)) {
    if (!std::isalnum(c) && c != '+' && c != '-' && c != '.') return "";
    scheme += static_cast<char>(std::tolower(c));
  }
  return scheme;
}

// The path that a source names, or none where its bytes come from elsewhere.
std::optional<std::string> path_of(const std::string& source) {
  const std::string scheme = scheme_of(source);
  if (scheme == "file") {
    std::string path = from_percent(std::string_view(source).substr(5), "file: URL");
    if (path.starts_with("//localhost/")) path.erase(0, 11);
    if (path.starts_with("///")) path.erase(0, 2);
    return path;
  }
  if (scheme == "data") return std::nullopt;
  if (!scheme.empty() && source.substr(scheme.size()).starts_with("://")) {
    fail(ErrorKind::kUnsupported,
         "[media] expected a path, '-' or a data: URI but got the address '{}'", source);
  }
  return source;
}

VideoInput in_memory(const std::string& name, std::string bytes, const VideoSampling& sampling) {
  return {name, std::make_shared<const std::string>(std::move(bytes)), nullptr, sampling};
}

}  // namespace

MediaBytes load_media(const std::string& source) {
  if (source == "-") return {"standard input", read_standard_input(kPictureBytesMax)};
  const auto path = path_of(source);
  if (!path) return {"data: URI", from_data_uri(source)};
  return {source, read_file(*path, kPictureBytesMax)};
}

VideoInput load_video(const std::string& source, const VideoSampling& sampling) {
  if (source == "-") {
    return in_memory("standard input", read_standard_input(kVideoBytesMax), sampling);
  }
  const auto path = path_of(source);
  if (!path) return in_memory("data: URI", from_data_uri(source), sampling);
  auto file = InputFile::open(*path);
  if (!file) return in_memory(source, read_file(*path, kVideoBytesMax), sampling);
  return {source, nullptr, std::move(file), sampling};
}

}  // namespace fovea::processors

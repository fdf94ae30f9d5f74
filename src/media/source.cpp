#include "media/source.h"

#include <algorithm>
#include <cctype>

#include "base/error.h"
#include "media/clipboard.h"
#include "media/data_uri.h"
#include "media/fetch.h"

namespace fovea::media {
namespace {

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

// Not found, as any file that may not be read: a host's file is not on this machine, and a path
// ends at a NUL, which would open another file than the one that is named.
std::string path_of_file_url(const std::string& url) {
  std::string_view rest = std::string_view(url).substr(5);
  if (rest.starts_with("//")) {
    rest.remove_prefix(2);
    std::string host(rest.substr(0, rest.find('/')));
    rest.remove_prefix(host.size());
    for (char& c : host) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    if (!host.empty() && host != "localhost") {
      fail(ErrorKind::kNotFound,
           "[media] expected a file: URL of this machine but got the host '{}'",
           host.substr(0, kMediaNameBytesMax));
    }
  }
  std::string path = from_percent(rest, "file: URL");
  if (path.find('\0') != path.npos) {
    fail(ErrorKind::kNotFound, "[media] expected a file: URL without a %00 but got '{}'",
         url.substr(0, kMediaNameBytesMax));
  }
  return path;
}

[[noreturn]] void refuse(const char* what, const std::string& source) {
  fail(ErrorKind::kUnsupported, "[media] expected a source that is allowed but got {} '{}'", what,
       source.substr(0, kMediaNameBytesMax));
}

Opened open_file(const std::string& source, const std::string& path, const SourcePolicy& policy,
                 size_t bytes_max) {
  if (!policy.files) refuse("the file", source);
  if (policy.root) return {source, "", InputFile::open_beneath(*policy.root, path)};
  auto file = InputFile::open(path);
  return file ? Opened{source, "", std::move(file)}
              : Opened{source, read_file(path, bytes_max), nullptr};
}

}  // namespace

SourcePolicy SourcePolicy::command_line() {
  SourcePolicy policy;
  policy.files = policy.standard_input = policy.clipboard = policy.http = policy.proxies = true;
  return policy;
}

SourcePolicy SourcePolicy::own_files() {
  SourcePolicy policy;
  policy.files = true;
  return policy;
}

Opened open_source(const std::string& source, const SourcePolicy& policy, size_t bytes_max) {
  if (source == "-") {
    if (!policy.standard_input) refuse("standard input", source);
    return {"standard input", read_standard_input(bytes_max), nullptr};
  }
  if (source == "@clipboard") {
    if (!policy.clipboard) refuse("the clipboard", source);
    return {"the clipboard", read_clipboard(bytes_max), nullptr};
  }
  const std::string scheme = scheme_of(source);
  if (scheme == "data") {
    std::string bytes = from_data_uri(source);
    if (bytes.size() > bytes_max) {
      fail(ErrorKind::kTooLarge, "[media] expected at most {} bytes in the data: URI but got {}",
           bytes_max, bytes.size());
    }
    return {"data: URI", std::move(bytes), nullptr};
  }
  if (scheme == "http" || scheme == "https") {
    if (!policy.http) refuse("the address", source);
    const size_t most = std::min(bytes_max, static_cast<size_t>(policy.fetch_megabytes) << 20);
    return {source, fetch(source, policy, most), nullptr};
  }
  if (scheme == "file") return open_file(source, path_of_file_url(source), policy, bytes_max);
  if (!scheme.empty() && source.substr(scheme.size()).starts_with("://")) {
    fail(ErrorKind::kUnsupported,
         "[media] expected a path, '-', a data: URI or an http address but got the address '{}'",
         source);
  }
  return open_file(source, source, policy, bytes_max);
}

MediaBytes load_media(const std::string& source, const SourcePolicy& policy) {
  Opened opened = open_source(source, policy, kPictureBytesMax);
  if (!opened.file) return {std::move(opened.name), std::move(opened.bytes)};
  return {std::move(opened.name), read_file(*opened.file, opened.name, kPictureBytesMax)};
}

std::vector<MediaBytes> load_pictures(const std::string& source, const SourcePolicy& policy,
                                      const PageChoice& choice) {
  std::vector<MediaBytes> pictures;
  pictures.push_back(load_media(source, policy));
  return is_pdf(pictures.front().bytes) ? draw_pages(pictures.front(), choice) : pictures;
}

VideoInput load_video(const std::string& source, const VideoSampling& sampling,
                      const SourcePolicy& policy) {
  Opened opened = open_source(source, policy, kVideoBytesMax);
  auto bytes = opened.file ? nullptr : std::make_shared<const std::string>(std::move(opened.bytes));
  return {std::move(opened.name), std::move(bytes), std::move(opened.file), sampling};
}

}  // namespace fovea::media

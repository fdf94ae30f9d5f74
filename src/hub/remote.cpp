#include "hub/remote.h"

#include <algorithm>
#include <cctype>
#include <chrono>
#include <cstdlib>
#include <ctime>
#include <iomanip>
#include <locale>
#include <optional>
#include <sstream>
#include <thread>

#include "base/error.h"
#include "base/file.h"
#include "base/number.h"
#include "core/limits.h"
#include "hub/digest.h"

namespace fovea::hub {
namespace {

namespace fs = std::filesystem;

constexpr const char* kWhere = "hub";  // of errors
constexpr int kRedirectsMax = 5;
constexpr int kAttempts = 6;
constexpr int kWaitMaxS = 300;
constexpr auto kFirstWait = std::chrono::milliseconds(250);
constexpr size_t kListBytesMax = size_t{64} << 20;

std::string environment(const char* name, const char* fallback) {
  const char* value = std::getenv(name);
  return value && *value ? value : fallback;
}

// As a path within a URL: all but letters, digits and a few signs as %XX.
std::string encoded(const std::string& text) {
  std::string url;
  for (const unsigned char c : text) {
    const bool plain = std::isalnum(c) || std::string_view("-_.~/").find(c) != std::string::npos;
    url += plain ? std::string(1, static_cast<char>(c)) : fmt::format("%{:02X}", c);
  }
  return url;
}

// As HTTP writes dates; nothing where the text is none. Source: RFC 9110, section 5.6.7, of whose
// forms only the first may still be sent.
std::optional<int64_t> seconds_of_date(const std::string& text) {
  std::istringstream stream(text);
  stream.imbue(std::locale::classic());
  std::tm time{};
  stream >> std::get_time(&time, "%a, %d %b %Y %H:%M:%S GMT");
  if (stream.fail()) return std::nullopt;
  return ::timegm(&time);
}

// What Retry-After asks for, a number of seconds or a date, but at most kWaitMaxS; -1 where it asks
// for nothing. A date counts from the server's own, whatever the clock is here.
int wait_asked_s(const HttpResponse& response) {
  const std::string asked = response.header("retry-after");
  const bool number = !asked.empty() && asked.find_first_not_of("0123456789") == std::string::npos;
  if (number) return read_number(asked, 0, kWaitMaxS).value_or(kWaitMaxS);
  const auto until = seconds_of_date(asked);
  if (!until) return -1;
  const auto now = seconds_of_date(response.header("date")).value_or(std::time(nullptr));
  return static_cast<int>(std::clamp<int64_t>(*until - now, 0, kWaitMaxS));
}

[[noreturn]] void refuse(int status, const HttpResponse& response, const std::string& what) {
  if (status == 401 || status == 403) {
    fail(ErrorKind::kInvalidArgument,
         "[hub] expected leave to read {} but got status {}: it is gated, private or not there; "
         "accept its terms on its page and set HF_TOKEN",
         what, status);
  }
  if (status == 404) fail(ErrorKind::kNotFound, "[hub] expected {} but there is none", what);
  const std::string message = fmt::format("[hub] expected {} but got status {}", what, status);
  if (status == 408 || status == 429 || status >= 500) {
    throw PassingError(ErrorKind::kBusy, message, wait_asked_s(response));
  }
  throw Error(ErrorKind::kIo, message);
}

// The hash that a header names: quoted, perhaps weak.
std::string digest_header(const HttpResponse& response) {
  std::string tag = response.header("x-linked-etag");
  if (tag.empty()) tag = response.header("etag");
  if (tag.starts_with("W/")) tag = tag.substr(2);
  std::erase(tag, '"');
  return is_digest(tag) ? tag : "";
}

// The address in `Link: <...>; rel="next"`, or nothing.
std::string next_link(const HttpResponse& response) {
  const std::string link = response.header("link");
  const auto end = link.find('>');
  if (!link.starts_with("<") || end == std::string::npos) return "";
  return link.find("rel=\"next\"", end) == std::string::npos ? "" : link.substr(1, end - 1);
}

void check_range(const HttpResponse& response, const RemoteFile& file, int64_t begin) {
  const std::string got = response.header("content-range");
  const bool right = got.starts_with(fmt::format("bytes {}-", begin)) &&
                     got.ends_with(fmt::format("/{}", file.bytes));
  if (right) return;
  fail(ErrorKind::kInvalidData, "[hub] expected bytes from {} of {} of '{}' but got '{}'", begin,
       file.bytes, file.path, got);
}

RemoteFile file_of(const Json& entry) {
  RemoteFile file;
  file.path = entry["path"].as_string();
  if (file.path.size() > kHubPathBytesMax) {
    fail(ErrorKind::kTooLarge, "[hub] expected a path of at most {} bytes but got {}",
         kHubPathBytesMax, file.path.size());
  }
  path_inside("", file.path);
  file.bytes = entry["size"].as_int();
  const Json large = entry.optional_object("lfs");
  file.digest = (large.is_null() ? entry : large)["oid"].as_string();
  if (file.bytes < 0 || file.bytes > kHubFileBytesMax || !is_digest(file.digest)) {
    fail(ErrorKind::kInvalidData,
         "[hub] expected a size of at most {} bytes and a hash of '{}' but got {} and '{}'",
         kHubFileBytesMax, file.path, file.bytes, file.digest);
  }
  return file;
}

[[noreturn]] void refuse_list(const HubModel& wanted, const char* what, size_t most) {
  fail(ErrorKind::kTooLarge, "[hub] expected a list of '{}' with at most {} {} but got more",
       wanted.repository, most, what);
}

}  // namespace

Remote::Remote(std::string endpoint, std::string token)
    : endpoint_(std::move(endpoint)), token_(std::move(token)) {
  while (endpoint_.ends_with("/")) endpoint_.pop_back();
  origin_of(endpoint_, kWhere);
}

namespace {

constexpr size_t kTokenBytesMax = 4096;

std::string written_token() {
  const std::string named = environment("HF_TOKEN_PATH", "");
  const fs::path file = named.empty() ? hub_home() / "token" : fs::path(named);
  std::error_code unreadable;
  return fs::is_regular_file(file, unreadable) ? read_file(file, kTokenBytesMax) : "";
}

}  // namespace

Remote Remote::from_environment() {
  std::string token = environment("HF_TOKEN", environment("HUGGING_FACE_HUB_TOKEN", "").c_str());
  if (token.empty()) token = written_token();
  std::erase_if(token, [](unsigned char c) { return std::isspace(c) || std::iscntrl(c); });
  return {environment("HF_ENDPOINT", "https://huggingface.co"), token};
}

HttpResponse Remote::get(HttpRequest request, const std::string& what, const std::string& digest,
                         const BodySink& sink) const {
  const auto headers = request.headers;
  request.where = kWhere;
  for (int hop = 0; hop <= kRedirectsMax; ++hop) {
    const std::string origin = origin_of(request.url, kWhere);
    const bool ours = origin == origin_of(endpoint_, kWhere);
    request.headers = headers;
    if (ours && !token_.empty()) request.headers["Authorization"] = "Bearer " + token_;
    const auto response = http_get(request, [&](const HttpResponse& answer, auto bytes) {
      const bool good = answer.status == 200 || answer.status == 206;
      return good && sink(answer, bytes);
    });
    const std::string named = ours ? digest_header(response) : "";
    if (!digest.empty() && !named.empty() && named != digest) {
      fail(ErrorKind::kInvalidData, "[hub] expected {} with the hash {} but got {}", what, digest,
           named);
    }
    if (!is_redirect(response.status)) {
      if (response.status != 200 && response.status != 206) {
        refuse(response.status, response, what);
      }
      return response;
    }
    const std::string next = resolve_url(request.url, response.header("location"), kWhere);
    if (origin.starts_with("https:") && !origin_of(next, kWhere).starts_with("https:")) {
      fail(ErrorKind::kInvalidData, "[hub] expected {} over https but was sent to '{}'", what,
           origin_of(next, kWhere));
    }
    request.url = next;
  }
  fail(ErrorKind::kInvalidData, "[hub] expected {} within {} redirects but got more", what,
       kRedirectsMax);
}

Json Remote::get_json(const std::string& url, const std::string& what, std::string& next_page,
                      const std::function<bool()>& stopped) const {
  std::string text;
  const auto take = [&](const HttpResponse&, std::span<const std::byte> bytes) {
    if (text.size() + bytes.size() > kListBytesMax) {
      fail(ErrorKind::kTooLarge, "[hub] expected {} in at most {} bytes but got more", what,
           kListBytesMax);
    }
    text.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    return true;
  };
  with_retries(
      [&] {
        text.clear();
        next_page = next_link(get({url, {}}, what, "", take));
      },
      [] { return false; }, stopped);
  return Json::parse(text, "hub");
}

RemoteModel Remote::model(const HubModel& wanted, const std::function<bool()>& stopped) const {
  const std::string what =
      fmt::format("a model '{}' with a revision '{}'", wanted.repository, wanted.revision);
  // A slash within a revision is part of its name.
  std::string revision = encoded(wanted.revision);
  for (size_t at; (at = revision.find('/')) != std::string::npos;) revision.replace(at, 1, "%2F");
  const std::string api = endpoint_ + "/api/models/" + wanted.repository;
  std::string page;
  RemoteModel model;
  const Json found = get_json(api + "/revision/" + revision, what, page, stopped);
  model.commit = found["sha"].as_string();
  if (!is_digest(model.commit)) {
    fail(ErrorKind::kInvalidData, "[hub] expected a commit of '{}' but got '{}'", wanted.repository,
         model.commit);
  }
  page = api + "/tree/" + model.commit + "?recursive=true";
  for (int pages = 0; !page.empty(); ++pages) {
    if (pages == kHubPagesMax) refuse_list(wanted, "pages", kHubPagesMax);
    const std::string url = resolve_url(endpoint_ + "/", page, kWhere);
    const Json list = get_json(url, what, page, stopped).as_list();
    for (size_t i = 0; i < list.size(); ++i) {
      if (list.at(i)["type"].as_string() != "file") continue;
      if (model.files.size() == kHubFilesMax) refuse_list(wanted, "files", kHubFilesMax);
      model.files.push_back(file_of(list.at(i)));
    }
  }
  return model;
}

void Remote::read(const std::string& repository, const std::string& commit, const RemoteFile& file,
                  int64_t begin, int64_t end, const PieceSink& sink) const {
  HttpRequest request{
      fmt::format("{}/{}/resolve/{}/{}", endpoint_, repository, commit, encoded(file.path)), {}};
  const bool whole = begin == 0 && end == file.bytes;
  if (!whole) request.headers["Range"] = fmt::format("bytes={}-{}", begin, end - 1);
  int64_t at = -1;
  get(std::move(request), fmt::format("'{}' of '{}'", file.path, repository), file.digest,
      [&](const HttpResponse& response, std::span<const std::byte> bytes) {
        if (at < 0) {
          at = response.status == 206 ? begin : 0;
          if (response.status == 206) check_range(response, file, begin);
        }
        const int64_t last = response.status == 206 ? end : file.bytes;
        if (at + static_cast<int64_t>(bytes.size()) > last) {
          fail(ErrorKind::kInvalidData, "[hub] expected {} bytes of '{}' but got more", last,
               file.path);
        }
        const int64_t from = at;
        at += static_cast<int64_t>(bytes.size());
        return sink(from, bytes);
      });
}

void with_retries(const std::function<void()>& attempt, const std::function<bool()>& progressed,
                  const std::function<bool()>& stopped) {
  using Clock = std::chrono::steady_clock;
  for (int failures = 0;;) {
    try {
      return attempt();
    } catch (const PassingError& error) {
      failures = progressed() ? 1 : failures + 1;
      if (failures >= kAttempts) throw;
      std::chrono::milliseconds wait = kFirstWait * (1 << (failures - 1));
      if (error.wait_s() >= 0) wait = std::chrono::seconds(error.wait_s());
      for (const auto end = Clock::now() + wait; Clock::now() < end;) {
        if (stopped && stopped()) {
          fail(ErrorKind::kCancelled, "[hub] expected to go on but was stopped");
        }
        std::this_thread::sleep_for(std::chrono::milliseconds(50));
      }
    }
  }
}

}  // namespace fovea::hub

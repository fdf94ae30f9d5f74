#include "media/fetch.h"

#include <algorithm>
#include <array>
#include <chrono>

#include "base/http_client.h"
#include "base/printable.h"

namespace fovea::media {
namespace {

using Clock = std::chrono::steady_clock;
constexpr const char* kWhere = "media";  // of errors

// Resolvers read a name whose last label is a number as an address, in forms that hide it: decimal,
// octal, hexadecimal, with parts left out.
bool ends_in_number(std::string_view host) {
  while (host.ends_with('.')) host.remove_suffix(1);
  const std::string_view label = host.substr(host.rfind('.') + 1);
  const bool hexadecimal = label.starts_with("0x") || label.starts_with("0X");
  const auto digits = hexadecimal ? "0123456789abcdefABCDEF" : "0123456789";
  return !label.empty() &&
         label.substr(hexadecimal ? 2 : 0).find_first_not_of(digits) == std::string_view::npos;
}

bool is_listed(const std::vector<std::string>& hosts, const std::string& host) {
  return std::any_of(hosts.begin(), hosts.end(), [&](const std::string& entry) {
    return entry.starts_with('.') ? host.ends_with(entry) : host == entry;
  });
}

bool may_be_private(const SourcePolicy& policy, const HttpTarget& target) {
  return std::any_of(policy.private_hosts.begin(), policy.private_hosts.end(), [&](const auto& e) {
    return e == "*" || e == target.host || e == target.host + ":" + target.port;
  });
}

bool is_this_machine(std::string_view host) {
  while (host.ends_with('.')) host.remove_suffix(1);
  return host == "localhost" || host.ends_with(".localhost");
}

[[noreturn]] void refuse_private(const HttpTarget& target) {
  fail(ErrorKind::kUnsupported,
       "[media] expected an address of the public Internet but '{}' is a private one or this "
       "machine's (allowed by --allow-private-host)",
       target.host);
}

void check_target(const SourcePolicy& policy, const HttpTarget& target) {
  if (target.has_user) {
    fail(ErrorKind::kUnsupported,
         "[media] expected an address without a user's name but got one at '{}'", target.host);
  }
  if (target.is_escaped || (target.is_name && ends_in_number(target.host))) {
    fail(ErrorKind::kUnsupported,
         "[media] expected a host's name or its address in the usual form but got '{}'",
         printable(target.host));
  }
  if (!policy.hosts.empty() && !is_listed(policy.hosts, target.host)) {
    fail(ErrorKind::kUnsupported, "[media] expected a host that is allowed but got '{}'",
         target.host);
  }
  // Every resolver's, a proxy's too.
  if (is_this_machine(target.host) && !may_be_private(policy, target)) refuse_private(target);
}

void check_address(const SourcePolicy& policy, const HttpTarget& target, const IpAddress& address) {
  if (!is_public(address) && !may_be_private(policy, target)) refuse_private(target);
}

// The kinds of bytes that can be a medium; what they are is told by themselves.
bool can_be_medium(std::string type) {
  type = type.substr(0, type.find(';'));
  while (type.ends_with(' ')) type.pop_back();
  std::transform(type.begin(), type.end(), type.begin(), [](unsigned char c) {
    return static_cast<char>(c >= 'A' && c <= 'Z' ? c | 32 : c);
  });
  constexpr std::array kGroups = {"image/", "video/", "audio/"};
  constexpr std::array kTypes = {"",
                                 "application/octet-stream",
                                 "binary/octet-stream",
                                 "application/pdf",
                                 "application/ogg",
                                 "application/mp4"};
  return std::any_of(kGroups.begin(), kGroups.end(),
                     [&](const char* group) { return type.starts_with(group); }) ||
         std::find(kTypes.begin(), kTypes.end(), type) != kTypes.end();
}

[[noreturn]] void refuse_status(int status, const std::string& url) {
  if (status == 404 || status == 410) {
    fail(ErrorKind::kNotFound, "[media] expected a file at '{}' but got status {}", url, status);
  }
  const std::string text =
      fmt::format("[media] expected a file at '{}' but got status {}", url, status);
  if (status == 408 || status == 429 || status >= 500) throw PassingError(ErrorKind::kIo, text);
  throw Error(ErrorKind::kIo, text);
}

// One answer, held to its bounds.
class Answer {
 public:
  Answer(const std::string& url, size_t bytes_max) : url_(url), bytes_max_(bytes_max) {}

  bool take(const HttpResponse& response, std::span<const std::byte> piece) {
    if (response.status != 200) return false;
    if (bytes_.empty()) check_header(response);
    if (piece.size() > bytes_max_ - bytes_.size()) refuse_size("more");
    bytes_.append(reinterpret_cast<const char*>(piece.data()), piece.size());
    return true;
  }
  std::string bytes() && { return std::move(bytes_); }

  void check_header(const HttpResponse& response) const {
    const std::string encoding = response.header("content-encoding");
    if (!encoding.empty() && encoding != "identity") {
      fail(ErrorKind::kInvalidData, "[media] expected bytes as they are at '{}' but got {}", url_,
           printable(encoding));
    }
    const std::string type = response.header("content-type");
    if (!can_be_medium(type)) {
      fail(ErrorKind::kInvalidData,
           "[media] expected a picture, video or sound at '{}' but got '{}'", url_,
           printable(type));
    }
    const int64_t length = response.number("content-length");
    if (length > 0 && static_cast<uint64_t>(length) > bytes_max_) {
      refuse_size(std::to_string(length));
    }
  }

 private:
  [[noreturn]] void refuse_size(const std::string& got) const {
    fail(ErrorKind::kTooLarge, "[media] expected at most {} bytes at '{}' but got {}", bytes_max_,
         url_, got);
  }

  std::string url_;
  size_t bytes_max_;
  std::string bytes_;
};

}  // namespace

std::string fetch(const std::string& url, const SourcePolicy& policy, size_t bytes_max) {
  HttpRequest request;
  request.url = url;
  request.headers = {{"Accept", "image/*, video/*, audio/*, application/pdf, */*;q=0.1"},
                     {"Accept-Encoding", "identity"}};
  request.where = kWhere;
  request.check_target = [&](const HttpTarget& target) { check_target(policy, target); };
  request.check_address = [&](const HttpTarget& target, const IpAddress& address) {
    check_address(policy, target, address);
  };
  request.check_own = [&](const HttpTarget& target) {
    if (!may_be_private(policy, target)) refuse_private(target);
  };
  request.use_proxy = policy.proxies;
  request.resolve = policy.resolve;
  request.deadline = Clock::now() + std::chrono::duration_cast<Clock::duration>(
                                        std::chrono::duration<double>(policy.fetch_seconds));
  for (int hop = 0; hop <= kFetchRedirectsMax; ++hop) {
    Answer answer(url, bytes_max);
    HttpResponse response;
    try {
      response = http_get(
          request, [&](const HttpResponse& head, auto piece) { return answer.take(head, piece); });
    } catch (const PassingError&) {
      if (Clock::now() < *request.deadline) throw;
      fail(ErrorKind::kTooLarge, "[media] expected '{}' within {} s but it takes longer", url,
           policy.fetch_seconds);
    }
    if (response.status == 200) {
      answer.check_header(response);
      return std::move(answer).bytes();
    }
    if (!is_redirect(response.status)) refuse_status(response.status, url);
    const std::string next = resolve_url(request.url, response.header("location"), kWhere);
    const bool secure = origin_of(request.url, kWhere).starts_with("https:");
    if (secure && !origin_of(next, kWhere).starts_with("https:")) {
      fail(ErrorKind::kInvalidData, "[media] expected '{}' over https but was sent to '{}'", url,
           origin_of(next, kWhere));
    }
    request.url = next;
  }
  fail(ErrorKind::kInvalidData, "[media] expected '{}' within {} redirects but got more", url,
       kFetchRedirectsMax);
}

}  // namespace fovea::media

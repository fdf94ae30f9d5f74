// HTTP GET over a connection of its own, in clear or over TLS with the system's certificates, by
// way of a proxy where the environment names one (base/proxy.h); TLS goes through it to the host.
// The url is parsed once, its name looked up once, and the connection made to an address that was
// checked. Boost.Beast, Boost.URL and OpenSSL stay behind http_client.cpp. Any thread may call.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/ip_address.h"

namespace fovea {

// What may pass: trying again can help.
class PassingError : public Error {
 public:
  PassingError(ErrorKind kind, const std::string& message, int wait_s = -1)
      : Error(kind, message), wait_s_(wait_s) {}
  // What the server asked for; -1 where it said nothing.
  int wait_s() const { return wait_s_; }

 private:
  int wait_s_;
};

// Whom a url names, as its one parser reads it.
struct HttpTarget {
  std::string scheme;   // "http" or "https"
  std::string host;     // in small letters, %-escapes undone, IPv6 without brackets
  std::string port;     // the scheme's where the url has none
  bool is_name = true;  // and no address
  bool is_escaped = false;
  bool has_user = false;
  std::string origin() const;  // scheme://host:port
};

struct HttpRequest {
  std::string url;                             // absolute
  std::map<std::string, std::string> headers;  // beside Host and User-Agent
  std::string where = "http";                  // the [where] of errors

  // Who may be asked, and at which address; each throws to refuse. The second sees every address
  // that a name has before any is connected to; where a proxy is on the way, which looks up names
  // itself, it sees those alone that stand in the url.
  std::function<void(const HttpTarget&)> check_target = nullptr;
  std::function<void(const HttpTarget&, const IpAddress&)> check_address = nullptr;
  // Who may be asked where the connection turns out to lead to this machine: both of its ends have
  // one address, be it a public one. Before anything is sent; throws to refuse. Not by a proxy.
  std::function<void(const HttpTarget&)> check_own = nullptr;
  bool use_proxy = true;
  // The addresses of a name; the system's resolver unless set. Called once.
  std::function<std::vector<IpAddress>(const std::string& name)> resolve = nullptr;
  // When all must have come; looking up the name is the system's, which keeps its own time.
  std::optional<std::chrono::steady_clock::time_point> deadline = std::nullopt;
};

struct HttpResponse {
  int status = 0;
  std::map<std::string, std::string> headers;  // names in lower case

  std::string header(const std::string& name) const;  // empty where there is none
  // Header fields that count something; -1 where there is none or no number.
  int64_t number(const std::string& name) const;
};

// The status and headers of the answer, then pieces of its body; false ends the body early.
using BodySink = std::function<bool(const HttpResponse&, std::span<const std::byte>)>;

// Follows no redirect. Throws Error(kInvalidArgument) for a URL that is none, PassingError(kIo)
// that names the host where it cannot be reached, does not prove its name, falls silent (30 s),
// ends early or takes longer than the deadline, and what the checks and the sink throw.
HttpResponse http_get(const HttpRequest& request, const BodySink& sink);

bool is_redirect(int status);

// Where `location`, as a redirect gives it, leads from `url`. Errors begin with [where].
std::string resolve_url(const std::string& url, const std::string& location,
                        const std::string& where);

// scheme://host:port, with the scheme's port where the URL has none. Throws Error(kInvalidArgument)
// for a URL that is neither http nor https.
std::string origin_of(const std::string& url, const std::string& where);

}  // namespace fovea

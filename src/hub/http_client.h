// HTTP GET over a connection of its own, in clear or over TLS with the system's certificates, by
// way of a proxy where the environment names one (hub/proxy.h); TLS goes through it to the host.
// Boost.Beast and OpenSSL stay behind http_client.cpp. Any thread may call.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <span>
#include <string>

#include "base/error.h"

namespace fovea::hub {

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

struct HttpRequest {
  std::string url;                             // absolute
  std::map<std::string, std::string> headers;  // beside Host and User-Agent
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
// that names the host where it cannot be reached, does not prove its name, falls silent (30 s) or
// ends early.
HttpResponse http_get(const HttpRequest& request, const BodySink& sink);

// Where `location`, as a redirect gives it, leads from `url`.
std::string resolve_url(const std::string& url, const std::string& location);

// scheme://host:port, with the scheme's port where the URL has none. Throws Error(kInvalidArgument)
// for a URL that is neither http nor https.
std::string origin_of(const std::string& url);

}  // namespace fovea::hub

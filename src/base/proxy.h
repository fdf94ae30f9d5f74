// Which proxy the environment asks for, by the rules that curl and Python share. Any thread may
// call.
#pragma once

#include <string>

namespace fovea {

// The address of the proxy on the way to scheme://host:port, or nothing: https_proxy or http_proxy
// by the scheme, else all_proxy, each in small letters first. Where REQUEST_METHOD is set, as in
// CGI programs, HTTP_PROXY may be a header that a stranger sent, and counts for nothing. no_proxy
// lists, between commas, hosts that are asked directly: a name stands for what ends in it too, a
// port restricts it, a star is all.
std::string proxy_for(const std::string& scheme, const std::string& host, const std::string& port);

}  // namespace fovea

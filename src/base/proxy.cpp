#include "base/proxy.h"

#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <sstream>

namespace fovea {
namespace {

std::string changed(std::string text, int (*change)(int)) {
  for (char& c : text) c = static_cast<char>(change(static_cast<unsigned char>(c)));
  return text;
}

std::string environment(const std::string& lower_case_name) {
  const char* value = std::getenv(lower_case_name.c_str());
  if (value && *value) return value;
  if (lower_case_name == "http_proxy" && std::getenv("REQUEST_METHOD")) return "";
  value = std::getenv(changed(lower_case_name, std::toupper).c_str());
  return value ? value : "";
}

// Whether an entry of no_proxy names the host.
bool names(std::string entry, const std::string& host, const std::string& port) {
  entry.erase(
      std::remove_if(entry.begin(), entry.end(), [](unsigned char c) { return std::isspace(c); }),
      entry.end());
  entry = changed(entry, std::tolower);
  if (entry == "*") return true;
  const auto colon = entry.rfind(':');
  const bool one_colon = colon != std::string::npos && entry.find(':') == colon;
  if (one_colon) {  // more are in an IPv6 address
    if (entry.substr(colon + 1) != port) return false;
    entry.erase(colon);
  }
  if (entry.starts_with("[") && entry.ends_with("]")) entry = entry.substr(1, entry.size() - 2);
  while (entry.starts_with("*") || entry.starts_with(".")) entry.erase(0, 1);
  if (entry.empty()) return false;
  return host == entry || host.ends_with("." + entry);
}

}  // namespace

std::string proxy_for(const std::string& scheme, const std::string& host, const std::string& port) {
  std::istringstream direct(environment("no_proxy"));
  const std::string name = changed(host, std::tolower);
  for (std::string entry; std::getline(direct, entry, ',');) {
    if (names(entry, name, port)) return "";
  }
  const std::string proxy = environment(scheme + "_proxy");
  return proxy.empty() ? environment("all_proxy") : proxy;
}

}  // namespace fovea

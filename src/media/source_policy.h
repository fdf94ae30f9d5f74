// Which sources of media are opened for whom. Plain values: no global state.
#pragma once

#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/ip_address.h"
#include "core/limits.h"

namespace fovea::media {

struct SourcePolicy {
  bool files = false;  // paths and file: URLs
  // Files only beneath it, by names without "..": no link on the way is followed, and one that is
  // not there reads like one that is forbidden.
  std::optional<std::filesystem::path> root;
  bool standard_input = false;  // "-"
  bool clipboard = false;       // "@clipboard"

  bool http = false;  // http: and https: URLs
  // Unless empty, only these hosts: a name, or ".name" for all that ends in it.
  std::vector<std::string> hosts;
  // host or host:port that may have an address of this machine or of a private network; "*" is any.
  std::vector<std::string> private_hosts;
  // Proxies of the environment. They look up names themselves, so that only addresses which stand
  // in a URL can be checked.
  bool proxies = false;
  double fetch_seconds = kFetchSeconds.standard;  // of all redirects together
  int fetch_megabytes = kFetchMegabytes.standard;
  // The addresses of a name; the system's resolver unless set.
  std::function<std::vector<IpAddress>(const std::string& name)> resolve = nullptr;

  // A user's own command line: everything but private addresses.
  static SourcePolicy command_line();
  // What a folder of the user's own names: files alone.
  static SourcePolicy own_files();
  // Strangers' requests: data: URIs alone, until somebody allows more.
  static SourcePolicy strangers() { return {}; }
};

}  // namespace fovea::media

// One variable that says where the Hugging Face cache is, and no other that a hub, a token or a
// proxy comes from; the environment is put back at the end.
#pragma once

#include <stdlib.h>

#include <filesystem>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace fovea::testing {

class HubEnvironment {
 public:
  explicit HubEnvironment(const std::filesystem::path& path,
                          const std::string& variable = "HF_HUB_CACHE") {
    for (const char* name :
         {"HF_HUB_CACHE", "HF_HOME", "XDG_CACHE_HOME", "HOME", "HF_ENDPOINT", "HF_TOKEN",
          "HF_TOKEN_PATH", "HUGGING_FACE_HUB_TOKEN", "http_proxy", "HTTP_PROXY", "https_proxy",
          "HTTPS_PROXY", "all_proxy", "ALL_PROXY", "no_proxy", "NO_PROXY", "REQUEST_METHOD"}) {
      const char* old = ::getenv(name);
      old_.emplace_back(name, old ? std::optional<std::string>(old) : std::nullopt);
      ::unsetenv(name);
    }
    ::setenv(variable.c_str(), path.c_str(), 1);
  }
  ~HubEnvironment() {
    for (const auto& [name, value] : old_) {
      ::unsetenv(name.c_str());
      if (value) ::setenv(name.c_str(), value->c_str(), 1);
    }
  }
  HubEnvironment(const HubEnvironment&) = delete;
  HubEnvironment& operator=(const HubEnvironment&) = delete;

 private:
  std::vector<std::pair<std::string, std::optional<std::string>>> old_;
};

}  // namespace fovea::testing

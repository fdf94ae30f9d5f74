// Where tests find what tools/reference made.
#pragma once

#include <openssl/evp.h>

#include <filesystem>
#include <string>

#include "base/file.h"
#include "base/format.h"
#include "base/json.h"
#include "support/source_path.h"

namespace fovea::testing {

inline std::filesystem::path fixture_path(const std::string& name) {
  return source_path("tests/fixtures/" + name);
}

inline Json read_fixture(const std::string& name) {
  return Json::parse(read_file(fixture_path(name)), name);
}

inline std::string sha256(const void* data, size_t size) {
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned int length = 0;
  EVP_Digest(data, size, digest, &length, EVP_sha256(), nullptr);
  std::string text;
  for (unsigned int i = 0; i < length; ++i) text += fmt::format("{:02x}", digest[i]);
  return text;
}

}  // namespace fovea::testing

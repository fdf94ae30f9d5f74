// The hashes that the hub names files by. One thread at a time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>

namespace fovea::hub {

// Whether `name` is a hash that digest_of() makes: SHA-256, which the hub gives large files,
// or the SHA-1 that git gives a file, both in lower-case hexadecimal.
bool is_digest(const std::string& name);

// The hash of the file's bytes, of the kind that `like` is. REQUIRES: is_digest(like). Throws as
// read_file() does.
std::string digest_of(const std::filesystem::path& file, const std::string& like);

}  // namespace fovea::hub

// The cases of tests/fixtures/parity: a request, the checkpoint that it is for, and beside them
// what the reference answered.
#pragma once

#include <filesystem>
#include <ostream>
#include <string>
#include <vector>

#include "core/message.h"

namespace fovea::testing {

struct Case {
  std::string name;
  std::filesystem::path folder;
  std::filesystem::path checkpoint;
};

// What GoogleTest prints for a case.
inline void PrintTo(const Case& c, std::ostream* out) { *out << c.name; }

// By name.
std::vector<Case> parity_cases();

ChatRequest read_request(const std::filesystem::path& folder);

}  // namespace fovea::testing

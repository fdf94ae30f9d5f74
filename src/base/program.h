// Another program as a helper: bytes in, bytes out, within bounds. Any thread may call.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace fovea {

struct ProgramLimits {
  double seconds = 30;
  size_t output_bytes = size_t{64} << 20;
  size_t memory_bytes = size_t{2} << 30;  // of address space
  size_t file_bytes = size_t{256} << 20;  // of any file that it writes
  size_t error_bytes = 0;                 // of its standard error that are kept
  // What it sees of the environment beside PATH, HOME, TMPDIR, LANG and LC_ALL.
  std::vector<std::string> variables = {};
};

struct ProgramResult {
  int code = 0;  // of its exit, or 128 and the signal that ended it
  std::string output;
  std::string errors;  // the first error_bytes of its standard error
};

// The full path of a program on PATH, or nothing.
std::string find_program(const std::string& name);

// Runs words[0], a full path, with `input` on its standard input, and no other open file with it.
// It gains no rights by what it runs (PR_SET_NO_NEW_PRIVS). It has a process group of its own,
// which ends with it. Throws Error(kTooLarge) "[where] ..." after ending it when it takes longer,
// with its streams open or not, or gives more than it may, Error(kIo) when the system cannot start
// it.
ProgramResult run_program(const std::vector<std::string>& words, std::string_view input,
                          const ProgramLimits& limits, const std::string& where);

}  // namespace fovea

// A program that is given text and gives bytes. Any thread may call.
#pragma once

#include <optional>
#include <string>
#include <vector>

namespace fovea::speech {

struct ChildResult {
  int code = 0;  // of its exit; 128 and more for a signal
  std::string out;
  std::string err;  // its first 4096 bytes
};

// Runs words[0] of PATH with the other words, without a shell; `input` is its standard input.
// Nothing where there is no such program. Throws Error(kTooLarge) beyond kAudioBytesMax bytes,
// Error(kIo) where the system gives no pipe or process.
std::optional<ChildResult> run_child(const std::vector<std::string>& words,
                                     const std::string& input);

}  // namespace fovea::speech

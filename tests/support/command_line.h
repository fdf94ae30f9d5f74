// The binary as its users run it. FOVEA_BINARY names it.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>

#include <algorithm>
#include <cstdlib>
#include <string>
#include <vector>

#include "base/file.h"
#include "base/format.h"
#include "support/temporary_folder.h"

namespace fovea::testing {

struct Outcome {
  int code = -1;  // -1: ended by a signal
  std::string out;
  std::string err;
};

inline std::string quoted(const std::string& word) {
  std::string text = "'";
  for (const char c : word) text += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return text + "'";
}

inline std::string command_line(const std::vector<std::string>& words) {
  std::string command = FOVEA_BINARY;
  for (const auto& word : words) command += " " + quoted(word);
  return command;
}

// A line for bash; standard output and error are collected unless it sends them elsewhere.
inline Outcome shell(const std::string& line, const std::string& input = "") {
  const TemporaryFolder folder;
  const auto in = folder.write("in", input);
  const auto out = folder.path() / "out";
  const auto err = folder.path() / "err";
  const int status = std::system(
      fmt::format("bash -c {} <{} >{} 2>{}", quoted(line), in.string(), out.string(), err.string())
          .c_str());
  return {WIFEXITED(status) ? WEXITSTATUS(status) : -1, read_file(out), read_file(err)};
}

inline Outcome fovea(const std::vector<std::string>& words, const std::string& input = "") {
  return shell(command_line(words), input);
}

inline void expect_refused(const Outcome& outcome, const std::string& sentence) {
  EXPECT_EQ(outcome.code, 2) << outcome.err;
  EXPECT_EQ(outcome.out, "");
  EXPECT_THAT(outcome.err, ::testing::HasSubstr(sentence));
  EXPECT_EQ(std::count(outcome.err.begin(), outcome.err.end(), '\n'), 1) << outcome.err;
  EXPECT_EQ(outcome.err.rfind("fovea: [", 0), 0u) << outcome.err;
}

inline void expect_refused(const std::vector<std::string>& words, const std::string& sentence) {
  SCOPED_TRACE(command_line(words).substr(0, 500));
  expect_refused(fovea(words), sentence);
}

}  // namespace fovea::testing

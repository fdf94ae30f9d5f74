#include "base/program.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <fstream>
#include <set>
#include <sstream>

#include "base/file.h"
#include "support/expect_error.h"
#include "support/temporary_folder.h"

namespace fovea {
namespace {

ProgramResult shell(const std::string& line, std::string_view input = "",
                    const ProgramLimits& limits = {}) {
  return run_program({find_program("sh"), "-c", line}, input, limits, "here");
}

TEST(Program, TakesAndGivesBytes) {
  const std::string much(3'000'000, 'x');
  EXPECT_EQ(shell("cat", much).output, much);
  EXPECT_EQ(shell("head -c 5", much).output, "xxxxx");  // the rest of the input is not wanted
  EXPECT_EQ(shell("echo seen >&2; exit 7").code, 7);
  EXPECT_EQ(shell("kill -9 $$").code, 128 + 9);
  EXPECT_EQ(run_program({"/none"}, "", {}, "here").code, 127);
  EXPECT_EQ(find_program("no-such-program"), "");
}

TEST(Program, TellsItsErrorsWhereTheyAreAskedFor) {
  // It reads nothing of what it is given.
  const auto deaf =
      shell("exec <&-; echo no >&2; exit 3", std::string(1 << 20, 'x'), {.error_bytes = 4096});
  EXPECT_EQ(deaf.code, 3);
  EXPECT_EQ(deaf.errors, "no\n");
  EXPECT_EQ(shell("echo none >&2").errors, "");
  EXPECT_EQ(shell("yes | head -c 100000 >&2; cat", "in", {.error_bytes = 5}).errors, "y\ny\ny");
}

TEST(Program, IsHeldToItsBounds) {
  const auto begin = std::chrono::steady_clock::now();
  EXPECT_ERROR(shell("sleep 60", "", {.seconds = 0.2}), ErrorKind::kTooLarge,
               "[here] expected 'sh' to end within 0.2 s");
  EXPECT_ERROR(shell("cat /dev/zero", "", {.output_bytes = 100'000}), ErrorKind::kTooLarge,
               "at most 100000 bytes of 'sh'");
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(10));
  EXPECT_EQ(shell("ulimit -v", "", {.memory_bytes = size_t{64} << 20}).output, "65536\n");
  EXPECT_EQ(shell("ulimit -t", "", {.seconds = 7}).output, "8\n");
}

TEST(Program, EndsInTimeWithoutItsStreams) {
  const auto begin = std::chrono::steady_clock::now();
  EXPECT_ERROR(shell("exec <&- >&-; sleep 20", "", {.seconds = 0.2}), ErrorKind::kTooLarge,
               "[here] expected 'sh' to end within 0.2 s");
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(10));
}

// And not dead, waiting for its parent to see it.
bool is_running(int pid) {
  std::string words;
  std::getline(std::ifstream(fmt::format("/proc/{}/cmdline", pid)), words);
  return !words.empty();
}

TEST(Program, LeavesNoneOfItsOwn) {
  const testing::TemporaryFolder folder;
  const std::string file = folder.path() / "pid";
  const auto ends = [&] {
    const int pid = std::stoi(read_file(file));
    for (int i = 0; i < 500 && is_running(pid); ++i) ::usleep(10'000);
    return !is_running(pid);
  };
  EXPECT_EQ(shell("sleep 30 <&- >&- & echo $! > " + file).code, 0);
  EXPECT_TRUE(ends());
  EXPECT_ERROR(shell("sleep 30 & echo $! > " + file + "; wait", "", {.seconds = 0.5}),
               ErrorKind::kTooLarge, "within 0.5 s");
  EXPECT_TRUE(ends());
}

TEST(Program, SeesNoSecret) {
  ::setenv("FOVEA_TEST_TOKEN", "secret", 1);
  ::setenv("DISPLAY", ":7", 1);
  const auto names = [](const ProgramLimits& limits) {
    std::istringstream lines(run_program({find_program("env")}, "", limits, "here").output);
    std::set<std::string> found;
    for (std::string line; std::getline(lines, line);) found.insert(line.substr(0, line.find('=')));
    return found;
  };
  const std::set<std::string> harmless = {"HOME", "LANG", "LC_ALL", "PATH", "TMPDIR"};
  const auto seen = names({});
  EXPECT_TRUE(seen.contains("PATH"));
  EXPECT_TRUE(std::includes(harmless.begin(), harmless.end(), seen.begin(), seen.end()))
      << ::testing::PrintToString(seen);
  const auto more = names({.variables = {"DISPLAY", "FOVEA_TEST_NONE"}});
  EXPECT_TRUE(more.contains("DISPLAY"));
  EXPECT_EQ(more.size(), seen.size() + 1);
  EXPECT_EQ(shell("grep NoNewPrivs /proc/self/status").output, "NoNewPrivs:\t1\n");
  ::unsetenv("FOVEA_TEST_TOKEN");
  ::unsetenv("DISPLAY");
}

TEST(Program, SeesNoOtherFile) {
  std::vector<int> open_files;
  for (int i = 0; i < 20; ++i) open_files.push_back(::dup(STDERR_FILENO));
  // The three of every program, and the folder that ls reads.
  EXPECT_EQ(shell("ls /proc/self/fd | wc -l").output, "4\n");
  for (const int fd : open_files) ::close(fd);
}

}  // namespace
}  // namespace fovea

// On a terminal of the test's own: what a person would see.
#include "cli/progress_line.h"

#include <gtest/gtest.h>
#include <pty.h>
#include <sys/ioctl.h>

#include "cli/answer.h"

namespace fovea::cli {
namespace {

using std::chrono::milliseconds;

class Terminal {
 public:
  Terminal() {
    EXPECT_EQ(::openpty(&screen_, &fd_, nullptr, nullptr, nullptr), 0);
    const winsize size{24, 30, 0, 0};
    EXPECT_EQ(::ioctl(fd_, TIOCSWINSZ, &size), 0);
    out_ = ::fdopen(::dup(fd_), "w");
  }
  ~Terminal() {
    std::fclose(out_);
    ::close(fd_);
    ::close(screen_);
  }
  Terminal(const Terminal&) = delete;
  Terminal& operator=(const Terminal&) = delete;

  int fd() const { return fd_; }
  std::FILE* out() const { return out_; }

  // All that was written so far, read until `part` is there.
  const std::string& read_until(const std::string& part) {
    char chunk[256];
    while (seen_.find(part) == std::string::npos) {
      const ssize_t got = ::read(screen_, chunk, sizeof chunk);
      if (got <= 0) break;
      seen_.append(chunk, static_cast<size_t>(got));
    }
    return seen_;
  }

 private:
  int screen_ = -1;
  int fd_ = -1;
  std::FILE* out_ = nullptr;
  std::string seen_;
};

TEST(ProgressLine, ShowsAndWipes) {
  Terminal terminal;
  {
    ProgressLine line("Loading", terminal.fd(), milliseconds(20));
    terminal.read_until("\r\033[KLoading (0 s)");
    line.set("Reading");
    terminal.read_until("\r\033[KReading (0 s)");
  }
  std::fputs("end", terminal.out());
  std::fflush(terminal.out());
  EXPECT_TRUE(terminal.read_until("end").ends_with("\r\033[Kend"));
}

// Names of files come from a hub.
TEST(ProgressLine, ShowsControlCharactersAsText) {
  Terminal terminal;
  const ProgressLine line("a\033[2J\n", terminal.fd(), milliseconds(20));
  EXPECT_NE(terminal.read_until(" s)").find("\r\033[Ka\\x1b[2J\\x0a (0 s)"), std::string::npos);
}

TEST(ProgressLine, NeverWraps) {
  Terminal terminal;
  const ProgressLine line(std::string(100, 'x'), terminal.fd(), milliseconds(20));
  const std::string row = "\r\033[K" + std::string(29, 'x');
  EXPECT_NE(terminal.read_until(row + "\r").find(row + "\r"), std::string::npos);
}

TEST(ProgressLine, SaysNothingOutsideTerminals) {
  int ends[2];
  ASSERT_EQ(::pipe(ends), 0);
  { const ProgressLine line("Loading", ends[1], milliseconds(0)); }
  ::close(ends[1]);
  char byte;
  EXPECT_EQ(::read(ends[0], &byte, 1), 0);
  ::close(ends[0]);
}

TEST(Answer, TheLineIsGoneBeforeTheText) {
  Terminal terminal;
  Answer answer(terminal.out(), terminal.fd(), milliseconds(20));
  answer.take(PrefillProgress{0, 9});
  terminal.read_until("Reading the prompt 0/9 (0 s)");
  answer.take(PrefillProgress{4, 9});
  terminal.read_until("Reading the prompt 4/9 (0 s)");
  answer.take(PrefillProgress{9, 9});
  answer.take(TextDelta{"A cat", {1}});
  // A line that still lived would write now.
  std::this_thread::sleep_for(milliseconds(60));
  answer.take(TextDelta{"!", {2}});
  answer.take(Finished{});
  EXPECT_TRUE(terminal.read_until("!").ends_with("\r\033[KA cat!"));
  EXPECT_EQ(answer.text, "A cat!");
}

TEST(Answer, TheLineEndsWithARequestThatNeverSpoke) {
  for (const Event& last : {Event(Finished{FinishReason::kCancelled, {}, {}}),
                            Event(Failed{ErrorKind::kInvalidData, "[x] no"})}) {
    Terminal terminal;
    Answer answer(nullptr, terminal.fd(), milliseconds(20));
    answer.take(PrefillProgress{0, 9});
    terminal.read_until("(0 s)");
    answer.take(last);
    std::fputs("end", terminal.out());
    std::fflush(terminal.out());
    EXPECT_TRUE(terminal.read_until("end").ends_with("\r\033[Kend"));
  }
}

}  // namespace
}  // namespace fovea::cli

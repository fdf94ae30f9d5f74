#include "speech/child_process.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>

#include "base/error.h"
#include "core/limits.h"

extern char** environ;

namespace fovea::speech {
namespace {

constexpr size_t kErrorBytesMax = 4096;

// Both ends of a pipe, closed with it.
class Pipe {
 public:
  Pipe() {
    if (::pipe2(ends_.data(), O_CLOEXEC) != 0) fail_system("a pipe");
  }
  ~Pipe() {
    close(0);
    close(1);
  }
  Pipe(const Pipe&) = delete;
  Pipe& operator=(const Pipe&) = delete;

  int end(int which) const { return ends_[static_cast<size_t>(which)]; }
  void close(int which) {
    int& fd = ends_[static_cast<size_t>(which)];
    if (fd >= 0) ::close(fd);
    fd = -1;
  }
  [[noreturn]] static void fail_system(const char* what) {
    fail(ErrorKind::kIo, "[child] expected the system to give {} but got: {}", what,
         std::strerror(errno));
  }

 private:
  std::array<int, 2> ends_ = {-1, -1};
};

// Writing to a child that has ended is an error of write() here and not the end of this process.
class WithoutPipeSignal {
 public:
  WithoutPipeSignal() {
    sigemptyset(&only_pipe_);
    sigaddset(&only_pipe_, SIGPIPE);
    ::pthread_sigmask(SIG_BLOCK, &only_pipe_, &before_);
  }
  ~WithoutPipeSignal() {
    const timespec now{};
    while (::sigtimedwait(&only_pipe_, nullptr, &now) > 0) continue;
    ::pthread_sigmask(SIG_SETMASK, &before_, nullptr);
  }
  const sigset_t& before() const { return before_; }

 private:
  sigset_t only_pipe_{};
  sigset_t before_{};
};

// True while more may come.
bool read_some(Pipe& pipe, std::string& to) {
  std::array<char, 65536> buffer;
  const ssize_t got = ::read(pipe.end(0), buffer.data(), buffer.size());
  if (got < 0 && errno == EINTR) return true;
  if (got <= 0) return false;
  to.append(buffer.data(), static_cast<size_t>(got));
  return true;
}

void exchange(Pipe& in, Pipe& out, Pipe& err, const std::string& input, ChildResult& result) {
  size_t written = 0;
  ::fcntl(in.end(1), F_SETFL, O_NONBLOCK);
  if (input.empty()) in.close(1);
  while (out.end(0) >= 0 || err.end(0) >= 0) {
    std::array<pollfd, 3> waited = {
        {{in.end(1), POLLOUT, 0}, {out.end(0), POLLIN, 0}, {err.end(0), POLLIN, 0}}};
    if (::poll(waited.data(), waited.size(), -1) < 0 && errno != EINTR) return;
    if (waited[0].revents != 0) {
      const ssize_t put = ::write(in.end(1), input.data() + written, input.size() - written);
      if (put > 0) written += static_cast<size_t>(put);
      const bool later = put < 0 && (errno == EAGAIN || errno == EINTR);
      if ((put < 0 && !later) || written == input.size()) in.close(1);
    }
    if (waited[1].revents != 0 && !read_some(out, result.out)) out.close(0);
    if (waited[2].revents != 0 && !read_some(err, result.err)) err.close(0);
    if (result.err.size() > kErrorBytesMax) result.err.resize(kErrorBytesMax);
    if (result.out.size() > kAudioBytesMax) return;
  }
}

// Like posix_spawnp: the error's number, ENOENT where there is no such program.
int spawn(const std::vector<std::string>& words, Pipe& in, Pipe& out, Pipe& err,
          const sigset_t& mask, pid_t& child) {
  std::vector<char*> arguments;
  for (const auto& word : words) arguments.push_back(const_cast<char*>(word.c_str()));
  arguments.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, in.end(0), STDIN_FILENO);
  posix_spawn_file_actions_adddup2(&actions, out.end(1), STDOUT_FILENO);
  posix_spawn_file_actions_adddup2(&actions, err.end(1), STDERR_FILENO);
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK);
  posix_spawnattr_setsigmask(&attributes, &mask);
  const int error =
      ::posix_spawnp(&child, arguments[0], &actions, &attributes, arguments.data(), environ);
  posix_spawnattr_destroy(&attributes);
  posix_spawn_file_actions_destroy(&actions);
  return error;
}

}  // namespace

std::optional<ChildResult> run_child(const std::vector<std::string>& words,
                                     const std::string& input) {
  const WithoutPipeSignal quiet;
  Pipe in;
  Pipe out;
  Pipe err;
  pid_t child = 0;
  const int error = spawn(words, in, out, err, quiet.before(), child);
  if (error == ENOENT) return std::nullopt;
  if (error != 0) {
    errno = error;
    Pipe::fail_system("a process");
  }
  in.close(0);
  out.close(1);
  err.close(1);
  ChildResult result;
  exchange(in, out, err, input, result);
  const bool too_large = result.out.size() > kAudioBytesMax;
  if (too_large) ::kill(child, SIGKILL);
  int status = 0;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) continue;
  result.code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  if (too_large) {
    fail(ErrorKind::kTooLarge, "[child] expected at most {} bytes of {} but got more",
         kAudioBytesMax, words[0]);
  }
  return result;
}

}  // namespace fovea::speech

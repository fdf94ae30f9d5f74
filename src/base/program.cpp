#include "base/program.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <optional>
#include <sstream>
#include <thread>
#include <utility>

#include "base/error.h"

namespace fovea {
namespace {

using Clock = std::chrono::steady_clock;
constexpr auto kPauseMax = std::chrono::microseconds(10'000);

// A stream to the program and back, which ends it and all that it started when it goes.
class Child {
 public:
  // `errors` is a file that takes its standard error, or -1.
  Child(pid_t pid, int fd, int errors) : pid_(pid), fd_(fd), errors_(errors) {}
  ~Child() {
    close_stream();
    if (errors_ >= 0) ::close(errors_);
    if (pid_ > 0) reap();
  }
  Child(Child&& other) noexcept
      : pid_(std::exchange(other.pid_, -1)),
        fd_(std::exchange(other.fd_, -1)),
        errors_(std::exchange(other.errors_, -1)) {}
  Child& operator=(Child&&) = delete;

  int stream() const { return fd_; }
  void close_stream() {
    if (fd_ >= 0) ::close(fd_);
    fd_ = -1;
  }
  // What it has written to its standard error, from the first byte.
  std::string errors(size_t bytes_max) const {
    std::string text(bytes_max, '\0');
    const ssize_t got = errors_ < 0 ? 0 : ::pread(errors_, text.data(), text.size(), 0);
    text.resize(static_cast<size_t>(std::max<ssize_t>(0, got)));
    return text;
  }
  // Its code once it has ended, or nothing when it has not by then.
  std::optional<int> wait_until(Clock::time_point end) {
    for (auto pause = std::chrono::microseconds(50); !has_ended();
         pause = std::min(2 * pause, kPauseMax)) {
      if (Clock::now() >= end) return std::nullopt;
      std::this_thread::sleep_for(pause);
    }
    return reap();
  }

 private:
  // Leaves it to be reaped: until then nobody else gets its number, nor its group's.
  bool has_ended() const {
    siginfo_t info{};
    return ::waitid(P_PID, static_cast<id_t>(pid_), &info, WEXITED | WNOHANG | WNOWAIT) != 0 ||
           info.si_pid == pid_;
  }
  int reap() {
    ::kill(-pid_, SIGKILL);
    int status = 0;
    while (::waitpid(pid_, &status, 0) < 0 && errno == EINTR) continue;
    pid_ = -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  }

  pid_t pid_;
  int fd_;
  int errors_;
};

void hold(decltype(RLIMIT_AS) what, rlim_t most) {
  const rlimit limit{most, most};
  ::setrlimit(what, &limit);
}

// Of the environment what a program needs and no more: tokens and passwords are among the rest.
std::vector<std::string> environment_of(const ProgramLimits& limits) {
  std::vector<std::string> names = {"PATH", "HOME", "TMPDIR", "LANG", "LC_ALL"};
  names.insert(names.end(), limits.variables.begin(), limits.variables.end());
  std::vector<std::string> entries;
  for (const auto& name : names) {
    if (const char* value = std::getenv(name.c_str())) entries.push_back(name + "=" + value);
  }
  return entries;
}

// As the system takes them; they stay those of `words`.
std::vector<char*> pointers_of(const std::vector<std::string>& words) {
  std::vector<char*> pointers;
  for (const auto& word : words) pointers.push_back(const_cast<char*>(word.c_str()));
  pointers.push_back(nullptr);
  return pointers;
}

// In the new process, where only calls that a signal handler may make are allowed.
[[noreturn]] void become(char* const* words, char* const* environment, int stream, int errors,
                         const ProgramLimits& limits) {
  ::setpgid(0, 0);
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);  // a terminal's signals no longer reach it
  const int nowhere = ::open("/dev/null", O_WRONLY);
  ::dup2(stream, STDIN_FILENO);
  ::dup2(stream, STDOUT_FILENO);
  ::dup2(errors >= 0 ? errors : nowhere, STDERR_FILENO);
  if (::close_range(STDERR_FILENO + 1, ~0u, 0) != 0) {  // a system without it
    for (int fd = STDERR_FILENO + 1; fd < 65536; ++fd) ::close(fd);
  }
  hold(RLIMIT_CORE, 0);
  hold(RLIMIT_AS, limits.memory_bytes);
  hold(RLIMIT_FSIZE, limits.file_bytes);
  hold(RLIMIT_CPU, static_cast<rlim_t>(limits.seconds) + 1);
  ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
  ::execve(words[0], words, environment);
  ::_exit(127);
}

Child start(const std::vector<std::string>& words, const ProgramLimits& limits,
            const std::string& where) {
  const auto variables = environment_of(limits);
  const auto arguments = pointers_of(words);
  const auto environment = pointers_of(variables);
  const auto refuse = [&] {
    fail(ErrorKind::kIo, "[{}] expected to start '{}' but there is no room for it", where,
         words[0]);
  };
  int errors = -1;
  if (limits.error_bytes > 0) {
    errors = ::memfd_create("errors", MFD_CLOEXEC);
    if (errors < 0) refuse();
  }
  std::array<int, 2> streams = {-1, -1};
  const bool connected = ::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, streams.data()) == 0;
  const pid_t pid = connected ? ::fork() : -1;
  if (pid == 0) become(arguments.data(), environment.data(), streams[1], errors, limits);
  if (connected) ::close(streams[1]);
  if (pid > 0) ::setpgid(pid, pid);  // whichever of the two comes first
  Child child(pid, streams[0], errors);
  if (pid < 0) refuse();
  ::fcntl(streams[0], F_SETFL, O_NONBLOCK);
  return child;
}

}  // namespace

std::string find_program(const std::string& name) {
  const char* path = std::getenv("PATH");
  std::istringstream folders(path ? path : "/usr/bin:/bin");
  for (std::string folder; std::getline(folders, folder, ':');) {
    if (!folder.starts_with('/')) continue;
    const std::string file = folder + "/" + name;
    std::error_code none;
    if (std::filesystem::is_regular_file(file, none) && ::access(file.c_str(), X_OK) == 0) {
      return file;
    }
  }
  return "";
}

ProgramResult run_program(const std::vector<std::string>& words, std::string_view input,
                          const ProgramLimits& limits, const std::string& where) {
  Child child = start(words, limits, where);
  const auto end = Clock::now() + std::chrono::duration_cast<Clock::duration>(
                                      std::chrono::duration<double>(limits.seconds));
  const auto refuse_time = [&] {
    fail(ErrorKind::kTooLarge, "[{}] expected '{}' to end within {} s but it takes longer", where,
         std::filesystem::path(words[0]).filename().string(), limits.seconds);
  };
  ProgramResult result;
  std::array<char, 65536> piece;
  bool sending = true;
  while (true) {
    const auto left =
        std::chrono::duration_cast<std::chrono::milliseconds>(end - Clock::now()).count();
    if (left <= 0) refuse_time();
    if (sending && input.empty()) {
      ::shutdown(child.stream(), SHUT_WR);
      sending = false;
    }
    pollfd ready{child.stream(), static_cast<short>(sending ? POLLIN | POLLOUT : POLLIN), 0};
    if (::poll(&ready, 1, static_cast<int>(left)) <= 0) continue;
    if (sending && (ready.revents & POLLOUT)) {
      const ssize_t put = ::send(child.stream(), input.data(), input.size(), MSG_NOSIGNAL);
      if (put > 0) input.remove_prefix(static_cast<size_t>(put));
      // It may have read all that it wants.
      if (put < 0 && errno != EAGAIN && errno != EINTR) input = {};
    }
    if (!(ready.revents & (POLLIN | POLLHUP | POLLERR))) continue;
    const ssize_t got = ::recv(child.stream(), piece.data(), piece.size(), 0);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) continue;
    if (got <= 0) break;
    if (result.output.size() + static_cast<size_t>(got) > limits.output_bytes) {
      fail(ErrorKind::kTooLarge, "[{}] expected at most {} bytes of '{}' but got more", where,
           limits.output_bytes, std::filesystem::path(words[0]).filename().string());
    }
    result.output.append(piece.data(), static_cast<size_t>(got));
  }
  child.close_stream();
  const auto code = child.wait_until(end);
  if (!code) refuse_time();
  result.code = *code;
  result.errors = child.errors(limits.error_bytes);
  return result;
}

}  // namespace fovea

#include "cli/interrupt.h"

#include <signal.h>

#include <atomic>
#include <cerrno>

#include "cli/progress_line.h"

namespace fovea::cli {
namespace {

std::atomic<bool> held{false};
std::atomic<bool> noted{false};
static_assert(std::atomic<bool>::is_always_lock_free, "a signal handler reads it");

void on_interrupt(int) {
  if (held && !noted.exchange(true)) return;
  const int error = errno;
  wipe_progress_line();
  ::signal(SIGINT, SIG_DFL);
  ::raise(SIGINT);
  errno = error;
}

}  // namespace

void watch_interrupts() {
  struct sigaction action {};
  if (::sigaction(SIGINT, nullptr, &action) != 0 || action.sa_handler == SIG_IGN) return;
  action = {};
  action.sa_handler = on_interrupt;
  action.sa_flags = SA_RESTART;
  ::sigaction(SIGINT, &action, nullptr);
}

void hold_interrupts() { held = true; }

bool interrupted() { return noted; }

}  // namespace fovea::cli

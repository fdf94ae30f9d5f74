// The one exception type for what the world does wrong: a bad file, request, picture or checkpoint.
// Our own faults are asserts. Throwing and catching is allowed on any thread.
#pragma once

#include <stdexcept>
#include <string>
#include <string_view>

#include "base/format.h"

namespace fovea {

enum class ErrorKind {
  kInvalidArgument,  // a flag, field or value that the caller can mend
  kNotFound,         // a file, model or name that is not there
  kInvalidData,      // bytes that are not what they claim to be: picture, checkpoint, JSON
  kUnsupported,      // understood, and not something Fovea does
  kTooLarge,         // over a limit of the limits table
  kBusy,             // a bounded queue or budget is full; trying again later may work
  kCancelled,        // the caller asked to stop
  kIo,               // the operating system refused a read or a write
};

// The process's exit code for an error kind; every kind here is the caller's to mend, so 2, except
// for kCancelled (130, as a shell reports Ctrl-C) and kBusy and kIo (1).
int exit_code(ErrorKind kind);

class Error : public std::runtime_error {
 public:
  // `message` has the form "[where] expected X but got Y" and is one sentence that names no
  // pointer, source position or path beyond what the caller gave.
  Error(ErrorKind kind, const std::string& message) : std::runtime_error(message), kind_(kind) {}

  ErrorKind kind() const { return kind_; }

 private:
  ErrorKind kind_;
};

// throw Error(kind, "[where] ...") with the message formatted as fmt::format does.
template <typename... Args>
[[noreturn]] void fail(ErrorKind kind, fmt::format_string<Args...> text, Args&&... args) {
  throw Error(kind, fmt::format(text, std::forward<Args>(args)...));
}

}  // namespace fovea

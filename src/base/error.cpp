#include "base/error.h"

namespace fovea {

int exit_code(ErrorKind kind) {
  switch (kind) {
    case ErrorKind::kCancelled:
      return 130;
    case ErrorKind::kBusy:
    case ErrorKind::kIo:
      return 1;
    default:
      return 2;
  }
}

}  // namespace fovea

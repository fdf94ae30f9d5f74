#include "kernels/numerics.h"

#include <algorithm>
#include <cstdlib>
#include <limits>
#include <string_view>
#include <utility>

#include "base/error.h"

namespace fovea::kernels {
namespace {

Numerics from_environment() {
  const char* told = std::getenv("FOVEA_EXACT");
  const std::string_view wanted = told ? told : "";
  if (wanted.empty() || wanted == "0") return Numerics::kFast;
  if (wanted == "1") return Numerics::kBfloat16;
  if (wanted == "2") return Numerics::kFloat32;
  fail(ErrorKind::kInvalidArgument, "[FOVEA_EXACT] expected 0, 1 or 2 but got '{}'", wanted);
}

Numerics& current() {
  static Numerics chosen = from_environment();
  return chosen;
}

int first_row = std::numeric_limits<int>::max();

}  // namespace

void set_numerics(Numerics wanted) { current() = wanted; }
Numerics numerics() { return current(); }

DecodeRows::DecodeRows(int first) : outer_(std::exchange(first_row, first)) {}
DecodeRows::~DecodeRows() { first_row = outer_; }

int first_decode_row(int rows) {
  return current() == Numerics::kFast ? std::min(first_row, rows) : rows;
}

}  // namespace fovea::kernels

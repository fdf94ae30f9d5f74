#include "kernels/numerics.h"

#include <algorithm>
#include <cstdlib>
#include <limits>
#include <string_view>
#include <utility>

namespace fovea::kernels {
namespace {

Numerics from_environment() {
  const char* told = std::getenv("FOVEA_EXACT");
  const std::string_view wanted = told ? told : "";
  return wanted == "1" ? Numerics::kBfloat16 : wanted == "2" ? Numerics::kFloat32 : Numerics::kFast;
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

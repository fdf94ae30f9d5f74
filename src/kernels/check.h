// --check-kernels: while on, every op runs its kernel and its fallback and compares them at once.
// Engine thread only.
#pragma once

#include <optional>
#include <string>

#include "mlx/array.h"

namespace fovea::kernels {

namespace mx = mlx::core;

struct Mismatch {
  std::string op;
  std::string shape;
  size_t index = 0;  // flat index of the worst element
  float kernel = 0;
  float fallback = 0;
};

struct CheckReport {
  int checked = 0;
  std::optional<Mismatch> first_mismatch;
};

// Turns checking on with an empty report, or off.
void set_checks(bool on);
bool checks_on();
CheckReport check_report();

// Evaluates both and records a mismatch where they differ by more than `tolerance` times the
// largest value.
void compare_with_fallback(const char* op, const mx::array& kernel, const mx::array& fallback,
                           float tolerance);

}  // namespace fovea::kernels

#include "kernels/isa/isa.h"

#include <array>
#include <cstdlib>
#include <string>

#include "base/error.h"
#include "kernels/isa/variants.h"

namespace fovea::kernels::isa {
namespace {

bool always() { return true; }

#if defined(__x86_64__)
bool has_avx2() {
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
         __builtin_cpu_supports("f16c") && __builtin_cpu_supports("bmi2");
}

bool has_avx512() {
  return has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
         __builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("avx512bf16");
}
#endif

struct Variant {
  const Table& (*table)();
  bool (*runs_here)();
};

// Worst first; each later one is a row. Next: amx, neon.
constexpr std::array kVariants = {
    Variant{scalar_table, always},
#if defined(__x86_64__)
    Variant{avx2_table, has_avx2},
    Variant{avx512_table, has_avx512},
#endif
};

}  // namespace

const Table& choose(std::string_view name) {
  if (name.empty()) {
    const Table* best = nullptr;
    for (const auto& variant : kVariants) {
      if (variant.runs_here()) best = &variant.table();
    }
    return *best;
  }
  if (const Table* found = find_table(name)) return *found;
  std::string names;
  for (const auto& variant : kVariants) {
    if (!variant.runs_here()) continue;
    names += (names.empty() ? "" : ", ") + std::string(variant.table().name);
  }
  fail(ErrorKind::kInvalidArgument,
       "[FOVEA_ISA] expected an instruction set that this processor runs ({}) but got '{}'", names,
       name);
}

const Table& table() {
  static const Table& chosen = []() -> const Table& {
    const char* wanted = std::getenv("FOVEA_ISA");
    return choose(wanted ? wanted : "");
  }();
  return chosen;
}

const Table* find_table(std::string_view name) {
  for (const auto& variant : kVariants) {
    if (variant.table().name == name) return variant.runs_here() ? &variant.table() : nullptr;
  }
  return nullptr;
}

}  // namespace fovea::kernels::isa

#include "kernels/isa/isa.h"

#if defined(__x86_64__)
#include <cpuid.h>
#endif

#include <algorithm>
#include <array>
#include <cstdlib>
#include <string>

#include "base/error.h"
#include "base/format.h"
#include "kernels/isa/tiles.h"
#include "kernels/isa/variants.h"

namespace fovea::kernels::isa {
namespace {

struct Feature {
  std::string name;
  bool here;
};

using Features = std::vector<Feature>;

#if defined(__x86_64__)
// A macro, since the builtin takes a literal only.
#define FOVEA_FEATURE(name) \
  Feature { name, __builtin_cpu_supports(name) != 0 }

// clang 14 has no name for it: CPUID leaf 1, ECX bit 29.
bool has_f16c() {
  unsigned a = 0, b = 0, c = 0, d = 0;
  return __get_cpuid(1, &a, &b, &c, &d) != 0 && (c >> 29 & 1) != 0;
}

Features avx2_features() {
  return {FOVEA_FEATURE("avx2"), FOVEA_FEATURE("fma"), Feature{"f16c", has_f16c()},
          FOVEA_FEATURE("bmi2")};
}

Features avx512_features() {
  auto all = avx2_features();
  for (const auto& feature :
       {FOVEA_FEATURE("avx512f"), FOVEA_FEATURE("avx512bw"), FOVEA_FEATURE("avx512dq"),
        FOVEA_FEATURE("avx512vl"), FOVEA_FEATURE("avx512vnni"), FOVEA_FEATURE("avx512bf16")}) {
    all.push_back(feature);
  }
  return all;
}
#undef FOVEA_FEATURE

Features amx_features() {
  static const TileSupport tiles = tile_support(this_machine());
  auto all = avx512_features();
  for (const auto& name : tiles.present) all.push_back({name, true});
  for (const auto& name : tiles.missing) all.push_back({name, false});
  return all;
}
#endif

struct Variant {
  std::string_view name;
  const Table& (*table)();  // compiled for the variant: to be called only where it runs
  Features (*features)();   // what it needs

  bool runs_here() const {
    const auto all = features();
    return std::all_of(all.begin(), all.end(), [](const Feature& f) { return f.here; });
  }
};

// Worst first; each later one is a row.
constexpr std::array kVariants = {
    Variant{"scalar", scalar_table, [] { return Features(); }},
#if defined(__x86_64__)
    Variant{"avx2", avx2_table, avx2_features},
    Variant{"avx512", avx512_table, avx512_features},
    Variant{"amx", amx_table, amx_features},
#elif defined(__aarch64__)
    Variant{"neon", neon_table, [] { return Features(); }},  // every such processor has it
#endif
};

}  // namespace

const Table& choose(std::string_view name) {
  if (name.empty()) {
    const Table* best = &scalar_table();
    for (const auto& variant : kVariants) {
      if (variant.runs_here()) best = &variant.table();
    }
    return *best;
  }
  if (const Table* found = find_table(name)) return *found;
  std::string names;
  std::string why;
  for (const auto& report : variants()) {
    if (report.missing.empty()) names += (names.empty() ? "" : ", ") + std::string(report.name);
    if (report.name == name) why = fmt::format(", which lacks {}", fmt::join(report.missing, ", "));
  }
  fail(ErrorKind::kInvalidArgument,
       "[FOVEA_ISA] expected an instruction set that this processor runs ({}) but got '{}'{}",
       names, name, why);
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
    if (variant.name == name) return variant.runs_here() ? &variant.table() : nullptr;
  }
  return nullptr;
}

std::vector<VariantReport> variants() {
  std::vector<VariantReport> reports;
  for (const auto& variant : kVariants) {
    VariantReport report{variant.name, {}, {}};
    for (const auto& [name, here] : variant.features()) {
      (here ? report.present : report.missing).emplace_back(name);
    }
    reports.push_back(std::move(report));
  }
  return reports;
}

}  // namespace fovea::kernels::isa

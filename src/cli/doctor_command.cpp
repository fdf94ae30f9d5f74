// `fovea doctor`: what was found on this machine, what was chosen, and why.
#include <CLI/CLI.hpp>
#include <cstdio>
#include <cstdlib>
#include <string>

#include "base/format.h"
#include "base/thread_pool.h"
#include "cli/commands.h"
#include "kernels/isa/isa.h"
#include "kernels/isa/tiles.h"
#include "kernels/numerics.h"

namespace fovea::cli {
namespace {

void print_isa() {
  const auto& chosen = kernels::isa::table();
  const char* wanted = std::getenv("FOVEA_ISA");
  std::printf("instruction set: %s, %s\n", std::string(chosen.name).c_str(),
              wanted && *wanted ? "as FOVEA_ISA asks" : "the best of those that run here");
  for (const auto& variant : kernels::isa::variants()) {
    const bool runs = variant.missing.empty();
    const auto& features = runs ? variant.present : variant.missing;
    std::printf("  %-8s %s\n", std::string(variant.name).c_str(),
                features.empty()
                    ? "runs everywhere"
                    : fmt::format("{} {}", runs ? "runs here:" : "lacks", fmt::join(features, ", "))
                          .c_str());
  }
  if (kernels::isa::hides_tile_sizes(kernels::isa::this_machine())) {
    std::printf(
        "warning: CPUID shows tiles (AMX) but hides their sizes (leaves 0x1D and 0x1E are zero), "
        "as "
        "some virtual machines do; Fovea does not ask for them, programs that do (oneDNN and what "
        "stands on it) die of an illegal instruction\n");
  }
  const bool exact = kernels::numerics() == kernels::Numerics::kFloat32;
  std::printf("prompt rows: %s\n",
              chosen.prompt_bf16.product && !exact ? "bfloat16 products" : "float32 products");
  std::printf("decode rows: %s\n", kernels::numerics() == kernels::Numerics::kFast
                                       ? "8-bit activations beside quantised weights"
                                       : "as prompt rows (FOVEA_EXACT)");
  std::printf("threads: %d\n", ThreadPool::instance().size());
}

}  // namespace

void add_doctor_command(CLI::App& program) {
  auto* command = program.add_subcommand("doctor", "Say what was found on this machine and chosen");
  command->add_flag("--isa")->description(
      "The instruction sets of the kernels: all it tells so far");
  command->callback(print_isa);
}

}  // namespace fovea::cli

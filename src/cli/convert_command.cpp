#include <CLI/CLI.hpp>
#include <cmath>
#include <cstdio>
#include <optional>

#include "base/error.h"
#include "cli/commands.h"
#include "cli/flag.h"
#include "cli/interrupt.h"
#include "cli/progress_line.h"
#include "convert/config.h"
#include "convert/convert.h"

namespace fovea::cli {
namespace {

struct Flags {
  std::string model;
  std::string out;
  std::optional<std::string> dtype;
  bool quantize = false;
  std::optional<std::string> mode;
  std::optional<int> bits;
  std::optional<int> group_size;
  std::optional<std::string> recipe;
  bool vision = false;
  bool dequantize = false;
  bool awq = false;
  bool awq_clip = false;
  std::optional<std::string> calibration;
};

// What the --q flags ask for, if any of them is there.
std::optional<convert::Recipe> recipe_of(const Flags& flags) {
  const bool plain = flags.mode || flags.bits || flags.group_size;
  if (flags.recipe) {
    if (plain) {
      fail(ErrorKind::kInvalidArgument,
           "[--q-recipe] expected no --q-mode, --q-bits or --q-group-size beside it but got one");
    }
    return convert::mixed_recipe(*flags.recipe);
  }
  const bool implied =
      flags.quantize || flags.vision || flags.awq || flags.awq_clip || flags.calibration;
  if (!plain && !implied) return std::nullopt;
  return convert::Recipe{
      convert::quant_format(flags.mode.value_or("affine"), flags.group_size, flags.bits), {}};
}

convert::Options options_of(const Flags& flags) {
  convert::Options options;
  options.weights.recipe = recipe_of(flags);
  options.weights.dequantize = flags.dequantize;
  if (options.weights.recipe && flags.dequantize) {
    fail(ErrorKind::kInvalidArgument,
         "[--dequantize] expected no flag that quantises beside it but got one");
  }
  if (flags.awq || flags.awq_clip || flags.calibration) {
    const auto clips = flags.awq_clip ? convert::Clips::kSearched : convert::Clips::kNone;
    options.awq = convert::Awq{flags.calibration.value_or(""), clips};
  }
  if (flags.dtype) options.weights.dtype = convert::dtype_named(*flags.dtype);
  if (flags.vision) options.weights.towers = convert::Towers::kQuantized;
  return options;
}

std::string progress_text(convert::Phase phase, int64_t done, int64_t all) {
  const double percent = 100 * static_cast<double>(done) / static_cast<double>(all);
  switch (phase) {
    case convert::Phase::kCalibrating:
      return fmt::format("Reading calibration prompts: {:.0f} %", percent);
    case convert::Phase::kScaling:
      return fmt::format("Searching scales: {:.0f} %", percent);
    default:
      return fmt::format("Converting: {:.0f} % of {:.3g} GB", percent, gigabytes(all));
  }
}

void print_report(const Flags& flags, const convert::Converted& made) {
  std::printf("%s: %.3f GB of weights became %.3f GB in %d file%s, %.3f bits a weight\n",
              flags.out.c_str(), gigabytes(made.bytes_before), gigabytes(made.bytes_after),
              made.files, made.files == 1 ? "" : "s", made.bits_per_weight());
  if (const auto& scales = made.scales) {
    std::printf(
        "%d of %d inputs scaled; mean error of what is computed of them %.3g %%, %.3g %% "
        "without\n",
        scales->scaled, scales->groups, 100 * std::sqrt(scales->error),
        100 * std::sqrt(scales->plain_error));
  }
  if (made.left_plain.empty()) return;
  std::printf("not quantised, because no group divides their rows: %s\n",
              fmt::format("{}", fmt::join(made.left_plain, ", ")).c_str());
}

void convert_model(const Flags& flags) {
  if (flags.model.empty() || flags.out.empty()) {
    fail(ErrorKind::kInvalidArgument, "[convert] expected MODEL and OUT but got {}",
         flags.model.empty() ? "neither" : "only one");
  }
  convert::Options options = options_of(flags);
  watch_interrupts();
  hold_interrupts();
  options.stopped = interrupted;
  ProgressLine line("Converting");
  options.progress = [&](convert::Phase phase, int64_t done, int64_t all) {
    line.set(progress_text(phase, done, all));
  };
  print_report(flags,
               convert::convert_checkpoint(open_checkpoint(flags.model), options, flags.out));
}

}  // namespace

void add_convert_command(CLI::App& program) {
  auto* command = program.add_subcommand(
      "convert", "Write a checkpoint again: another type, quantised or not, MLX's layout");
  auto flags = std::make_shared<Flags>();
  command->add_option("MODEL", flags->model,
                      "Checkpoint folder, or org/name in the Hugging Face cache");
  command->add_option("OUT", flags->out, "Folder to write; must not exist");
  add_choice(*command, "--dtype", {"bfloat16", "float16", "float32"}, flags->dtype,
             "Of what is not quantised, and of scales [config.json's]");
  command->add_flag("--quantize", flags->quantize, "Quantise; each --q flag implies it");
  add_choice(*command, "--q-mode", convert::quant_modes(), flags->mode, "[affine]");
  add_choice(*command, "--q-bits", {2, 3, 4, 5, 6, 8}, flags->bits, "Bits of a weight [4]");
  add_choice(*command, "--q-group-size", {16, 32, 64, 128}, flags->group_size,
             "Weights that share a scale [64]");
  add_choice(*command, "--q-recipe", convert::mixed_recipes(), flags->recipe,
             "Bits of most weights and of those that matter most, groups of 64");
  command->add_flag("--q-vision", flags->vision, "Quantise towers and projectors too");
  command->add_flag("--awq", flags->awq,
                    "Scale channels by what the model computes of calibration prompts first");
  command->add_flag("--awq-clip", flags->awq_clip,
                    "Search how far to cut the range of each group as well; implies --awq");
  command->add_option("--calibration", flags->calibration,
                      "Those prompts: text, or .jsonl with pictures; implies --awq");
  command->add_flag("--dequantize", flags->dequantize, "Write quantised weights as plain ones");
  command->callback([flags] { convert_model(*flags); });
}

}  // namespace fovea::cli

#include <CLI/CLI.hpp>
#include <cstdio>
#include <optional>

#include "base/error.h"
#include "cli/commands.h"
#include "cli/flag.h"
#include "cli/progress_line.h"
#include "cli/synth/checkpoint.h"

namespace fovea::cli {
namespace {

constexpr int kPlainBits = 16;  // --bits for weights that are not quantised

struct Flags {
  std::string shape;
  std::string out;
  int bits = 4;
  int group_size = 64;
  std::optional<uint64_t> seed;
  std::optional<int> layers;
  SynthOptions options;
};

void synth(Flags flags) {
  SynthShape shape = synth_shape(flags.shape);
  if (flags.layers) shape = with_decoder_layers(shape, *flags.layers);
  if (flags.out.empty()) {
    fail(ErrorKind::kInvalidArgument, "[synth] expected a folder to write after '{}' but got none",
         shape.name);
  }
  if (flags.bits != kPlainBits)
    flags.options.affine = kernels::Quantization{flags.group_size, flags.bits};
  flags.options.seed = flags.seed.value_or(flags.options.seed);
  const ProgressLine progress("Writing " + shape.name);
  const auto written = write_synth_checkpoint(shape, flags.options, flags.out);
  std::printf("%s: %.3g GB of weights in %d file%s\n", flags.out.c_str(), gigabytes(written.bytes),
              written.files, written.files == 1 ? "" : "s");
}

}  // namespace

void add_synth_command(CLI::App& program) {
  auto* command = program.add_subcommand(
      "synth", "Write a checkpoint of a real shape with random weights, for benches and tests");
  auto flags = std::make_shared<Flags>();
  command->add_option("FAMILY-SIZE", flags->shape,
                      fmt::format("One of {}", fmt::join(synth_shape_names(), ", ")));
  command->add_option("OUT", flags->out, "Folder to write; new or empty");
  add_choice(*command, "--bits", {2, 3, 4, 5, 6, 8, kPlainBits}, flags->bits,
             "Bits of a quantised weight; 16 quantises nothing");
  add_choice(*command, "--group-size", {32, 64, 128}, flags->group_size,
             "Weights that share a scale");
  add_choice(*command, "--dtype", {"bfloat16", "float16", "float32"}, flags->options.dtype,
             "Of what is not quantised, and of scales");
  add_number(*command, kSynthLayers, flags->layers, "Of the decoder, at most; towers stay whole");
  add_number(*command, kSeed, flags->seed, "Of the random weights");
  command->callback([flags] { synth(*flags); });
}

}  // namespace fovea::cli

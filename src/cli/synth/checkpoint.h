// A whole checkpoint folder of random weights, in mlx-community layout.
#pragma once

#include <filesystem>

#include "cli/synth/shapes.h"
#include "cli/synth/weights.h"

namespace fovea::cli {

// Writes `folder`, which must not exist or be empty; config.json comes last, so that a folder which
// has it is whole. Throws Error(kInvalidArgument) for a folder that cannot be made or has files
// already; whatever else goes wrong takes the files away again.
nn::WrittenWeights write_synth_checkpoint(const SynthShape& shape, const SynthOptions& options,
                                          const std::filesystem::path& folder);

}  // namespace fovea::cli

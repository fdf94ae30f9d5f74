// The checkpoints that `fovea synth` can make: real shapes by name, and a tiny one of each family
// for tests. No weights, only what a folder's JSON files say.
#pragma once

#include <string>
#include <vector>

#include "base/json.h"

namespace fovea::cli {

struct SynthShape {
  std::string name;
  Json files;       // file name -> contents: config.json, preprocessor_config.json, ...
  Json vocabulary;  // see synth/tokenizer.h
};

std::vector<std::string> synth_shape_names();

// Throws Error(kInvalidArgument) that lists the names for any other.
SynthShape synth_shape(const std::string& name);

// The shape with so many layers in its decoder, where it has more: for benches that would else take
// too much of a disk. Towers stay whole.
SynthShape with_decoder_layers(const SynthShape& shape, int layers);

// `base` with the members of `changes`, object by object; other values are replaced.
Json merged(const Json& base, const Json& changes);

}  // namespace fovea::cli

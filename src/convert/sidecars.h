// What a converted folder has beside weights and config.json.
#pragma once

#include <filesystem>
#include <string>

#include "core/checkpoint.h"

namespace fovea::convert {

// Copies tokenizer, processor, template and licence files, folders within too, but not `draft`,
// which may lie in there. Weights, code, pickles, config.json, what describes the old weights and
// links to folders stay behind. Throws Error(kIo).
void copy_sidecars(const std::filesystem::path& from, const std::filesystem::path& to,
                   const std::filesystem::path& draft);

// README.md in the form of a model card: tags and base_model (where the checkpoint has the name of
// a repository), and the licence and languages that the source's card names. `what` is a sentence
// on the weights.
std::string model_card(const Checkpoint& source, const std::string& what);

}  // namespace fovea::convert

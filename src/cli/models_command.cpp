// `fovea models`: the models that are there, or the families that this build runs.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <memory>

#include "base/format.h"
#include "cli/commands.h"
#include "models/model.h"

namespace fovea::cli {
namespace {

// A row a family, in columns as wide as their longest entry.
void print_supported() {
  auto cards = models::supported_families();
  cards.insert(cards.begin(), {"model_type", "parts", "media"});
  const auto widest = [&](std::string models::FamilyCard::*column) {
    size_t width = 0;
    for (const auto& card : cards) width = std::max(width, (card.*column).size());
    return width;
  };
  const size_t name = widest(&models::FamilyCard::model_type);
  const size_t parts = widest(&models::FamilyCard::parts);
  for (const auto& card : cards) {
    std::printf("%s\n", fmt::format("{:<{}}  {:<{}}  {}", card.model_type, name, card.parts, parts,
                                    card.media)
                            .c_str());
  }
}

}  // namespace

void add_models_command(CLI::App& program) {
  auto* command = program.add_subcommand("models", "List the models in the cache, as ls does");
  auto supported = std::make_shared<bool>(false);
  command->add_flag("--supported", *supported,
                    "The families that this build runs instead: name, parts, media");
  command->callback([supported] { *supported ? print_supported() : list_cached_models(); });
}

}  // namespace fovea::cli

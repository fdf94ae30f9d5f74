// Weights that a disk must give, read before the model runs.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "core/checkpoint.h"

namespace fovea::generate {

// Reads what the system's cache lacks of these mapped weights, in the order of their file, unless
// nearly all is there or memory could not hold it. `progress` may be empty.
void read_cold(std::vector<std::span<const std::byte>> weights, const ReadProgress& progress);

}  // namespace fovea::generate

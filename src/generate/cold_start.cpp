#include "generate/cold_start.h"

#include <algorithm>
#include <memory>

#include "base/file.h"
#include "generate/memory_estimate.h"

namespace fovea::generate {
namespace {

using Stretch = std::span<const std::byte>;

// By rising address, neighbours as one.
std::vector<Stretch> merged(std::vector<Stretch> weights) {
  constexpr int64_t kGap = 4096;
  std::sort(weights.begin(), weights.end(),
            [](const Stretch& a, const Stretch& b) { return a.data() < b.data(); });
  std::vector<Stretch> stretches;
  for (const auto& weight : weights) {
    const auto end = weight.data() + weight.size();
    if (stretches.empty() || weight.data() - std::to_address(stretches.back().end()) > kGap) {
      stretches.push_back(weight);
    } else if (end > std::to_address(stretches.back().end())) {
      stretches.back() = {stretches.back().data(), end};
    }
  }
  return stretches;
}

}  // namespace

void read_cold(std::vector<std::span<const std::byte>> weights, const ReadProgress& progress) {
  const auto stretches = merged(std::move(weights));
  size_t total = 0;
  size_t cached = 0;
  for (const auto& stretch : stretches) {
    total += stretch.size();
    cached += MappedFile::cached(stretch);
  }
  const bool nearly_all = cached >= total - total / 16;
  const auto room = available_memory();
  if (nearly_all || (room && total > static_cast<size_t>(*room))) return;
  size_t before = 0;
  for (const auto& stretch : stretches) {
    MappedFile::read_ahead(stretch, [&](size_t bytes) {
      if (progress) progress(before + bytes, total);
    });
    before += stretch.size();
  }
}

}  // namespace fovea::generate

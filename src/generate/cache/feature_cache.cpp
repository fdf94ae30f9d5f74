#include "generate/cache/feature_cache.h"

namespace fovea::generate {

std::optional<mlx::core::array> FeatureCache::find(const Sha256Bytes& contents) {
  const auto found = by_contents_.find(contents);
  if (found == by_contents_.end()) return std::nullopt;
  entries_.splice(entries_.begin(), entries_, found->second);
  return found->second->second;
}

void FeatureCache::insert(const Sha256Bytes& contents, const mlx::core::array& features) {
  const auto size = static_cast<int64_t>(features.nbytes());
  if (size > bytes_max_ || by_contents_.contains(contents)) return;
  while (bytes_ + size > bytes_max_) {
    bytes_ -= static_cast<int64_t>(entries_.back().second.nbytes());
    by_contents_.erase(entries_.back().first);
    entries_.pop_back();
  }
  entries_.emplace_front(contents, features);
  by_contents_.emplace(contents, entries_.begin());
  bytes_ += size;
}

}  // namespace fovea::generate

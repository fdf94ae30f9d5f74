// What towers made of media, by contents: a picture that comes again is not encoded again. Within a
// bound of bytes the newest stay. Engine thread only.
#pragma once

#include <cstdint>
#include <list>
#include <map>
#include <optional>
#include <utility>

#include "base/sha256.h"
#include "mlx/array.h"

namespace fovea::generate {

class FeatureCache {
 public:
  explicit FeatureCache(int64_t bytes_max) : bytes_max_(bytes_max) {}

  // The newest from now on.
  std::optional<mlx::core::array> find(const Sha256Bytes& contents);
  // `features` are evaluated. What is larger than the bound is not kept.
  void insert(const Sha256Bytes& contents, const mlx::core::array& features);

  int64_t bytes() const { return bytes_; }
  size_t count() const { return entries_.size(); }

 private:
  using Entry = std::pair<Sha256Bytes, mlx::core::array>;

  int64_t bytes_max_;
  int64_t bytes_ = 0;
  std::list<Entry> entries_;  // newest first
  std::map<Sha256Bytes, std::list<Entry>::iterator> by_contents_;
};

}  // namespace fovea::generate

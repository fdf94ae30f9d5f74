// The memory of the cache's blocks: taken from the system when it is wanted, kept for the next when
// it is free, within a bound. Blocks may be let go of on any thread; all else is the engine's.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

namespace fovea::generate {

// A block; its memory is free again when the last reference goes.
using BlockRef = std::shared_ptr<std::byte>;

class BlockMemory {
 public:
  // Of all blocks together; 0 is no bound.
  explicit BlockMemory(int64_t bytes_max);

  // A block whose contents are not told, or null where there is no room for it.
  BlockRef take(int64_t bytes);

  int64_t bytes_in_use() const;
  int64_t bytes_max() const;

 private:
  struct Shelf;
  std::shared_ptr<Shelf> shelf_;  // blocks that outlive this hold it too
};

}  // namespace fovea::generate

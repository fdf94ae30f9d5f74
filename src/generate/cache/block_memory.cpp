#include "generate/cache/block_memory.h"

#include <sys/mman.h>

#include <algorithm>
#include <map>
#include <mutex>
#include <new>
#include <vector>

namespace fovea::generate {
namespace {

// What is kept for the next block: giving pages back and taking them again costs more than a
// block's rows, and more of them would be missed elsewhere.
constexpr int64_t kSpareBytesMax = int64_t{64} << 20;

std::byte* map_bytes(int64_t bytes) {
  void* memory = ::mmap(nullptr, static_cast<size_t>(bytes), PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) throw std::bad_alloc();
  return static_cast<std::byte*>(memory);
}

}  // namespace

struct BlockMemory::Shelf {
  const int64_t bytes_max;
  std::mutex mutex;
  int64_t in_use = 0;
  int64_t spare = 0;
  std::map<int64_t, std::vector<std::byte*>> spares;  // by size

  explicit Shelf(int64_t most) : bytes_max(most) {}
  Shelf(const Shelf&) = delete;
  Shelf& operator=(const Shelf&) = delete;
  ~Shelf() {
    for (const auto& [bytes, blocks] : spares) {
      for (std::byte* block : blocks) ::munmap(block, static_cast<size_t>(bytes));
    }
  }

  // Null when there is none to be had.
  std::byte* take(int64_t bytes) {
    const std::lock_guard lock(mutex);
    if (bytes_max > 0 && in_use + bytes > bytes_max) return nullptr;
    auto& same = spares[bytes];
    std::byte* block = nullptr;
    if (same.empty()) {
      block = map_bytes(bytes);
    } else {
      block = same.back();
      same.pop_back();
      spare -= bytes;
    }
    in_use += bytes;
    return block;
  }

  void give_back(std::byte* block, int64_t bytes) {
    const std::lock_guard lock(mutex);
    in_use -= bytes;
    if (spare + bytes > kSpareBytesMax) {
      ::munmap(block, static_cast<size_t>(bytes));
      return;
    }
    spares[bytes].push_back(block);
    spare += bytes;
  }
};

BlockMemory::BlockMemory(int64_t bytes_max) : shelf_(std::make_shared<Shelf>(bytes_max)) {}

BlockRef BlockMemory::take(int64_t bytes) {
  std::byte* block = shelf_->take(bytes);
  if (!block) return nullptr;
  return {block, [shelf = shelf_, bytes](std::byte* memory) { shelf->give_back(memory, bytes); }};
}

int64_t BlockMemory::bytes_in_use() const {
  const std::lock_guard lock(shelf_->mutex);
  return shelf_->in_use;
}

int64_t BlockMemory::bytes_max() const { return shelf_->bytes_max; }

}  // namespace fovea::generate

#include "kernels/memory.h"

#include <atomic>
#include <mutex>
#include <set>

#if defined(__GLIBC__)
#include <malloc.h>
#endif

#include "base/file.h"
#include "mlx/memory.h"

namespace fovea::kernels {
namespace {

struct Passing {
  std::mutex mutex;
  std::multiset<const std::byte*> begins;
  std::atomic<bool> any{false};

  static Passing& all() {
    // Never destroyed: array work may still run while the process ends.
    static auto* passing = new Passing;
    return *passing;
  }
};

}  // namespace

void set_allocator_cache(size_t bytes) { mlx::core::set_cache_limit(bytes); }

void trim_allocator_cache() {
  constexpr size_t kMuch = size_t{64} << 20;
  if (mlx::core::get_cache_memory() <= kMuch) return;
  mlx::core::clear_cache();
#if defined(__GLIBC__)
  // Blocks of less than 32 MB may lie in its heap, which keeps them below any that lives on.
  malloc_trim(0);
#endif
}

size_t peak_array_bytes() { return mlx::core::get_peak_memory(); }

PassingWeights::PassingWeights(std::vector<std::span<const std::byte>> weights)
    : weights_(std::move(weights)) {
  auto& passing = Passing::all();
  const std::lock_guard lock(passing.mutex);
  for (const auto& weight : weights_) passing.begins.insert(weight.data());
  passing.any = !passing.begins.empty();
}

PassingWeights::~PassingWeights() {
  auto& passing = Passing::all();
  const std::lock_guard lock(passing.mutex);
  for (const auto& weight : weights_) passing.begins.erase(passing.begins.find(weight.data()));
  passing.any = !passing.begins.empty();
}

void give_back_passing(const std::vector<mlx::core::array>& inputs) {
  constexpr size_t kFew = size_t{64} << 10;  // bytes whose pages are not worth a call
  auto& passing = Passing::all();
  if (!passing.any) return;
  for (const auto& input : inputs) {
    if (input.nbytes() < kFew) continue;
    const auto* begin = reinterpret_cast<const std::byte*>(input.data<char>());
    const std::lock_guard lock(passing.mutex);
    if (passing.begins.contains(begin)) MappedFile::give_back({begin, input.nbytes()});
  }
}

}  // namespace fovea::kernels

// A vector whose memory, when it is large, asks for huge pages: the first touch of small ones costs
// more than decoding a pixel does. Any thread may call.
#pragma once

#include <sys/mman.h>

#include <cstddef>
#include <new>
#include <vector>

namespace fovea {

template <class T>
class PageAllocator {
 public:
  using value_type = T;

  PageAllocator() = default;
  template <class U>
  PageAllocator(const PageAllocator<U>&) noexcept {}

  T* allocate(size_t count) {
    const size_t bytes = count * sizeof(T);
    void* memory = ::operator new(bytes, alignment(bytes));
#if defined(MADV_HUGEPAGE)
    // A wish: where the system refuses it, pages are small.
    if (bytes >= kLarge) ::madvise(memory, bytes / kHugePage * kHugePage, MADV_HUGEPAGE);
#endif
    return static_cast<T*>(memory);
  }
  void deallocate(T* memory, size_t count) noexcept {
    ::operator delete(memory, alignment(count * sizeof(T)));
  }

  bool operator==(const PageAllocator&) const { return true; }

 private:
  static constexpr size_t kHugePage = size_t{2} << 20;
  static constexpr size_t kLarge = 4 * kHugePage;
  static std::align_val_t alignment(size_t bytes) {
    return std::align_val_t(bytes >= kLarge ? kHugePage : alignof(std::max_align_t));
  }
};

template <class T>
using PageVector = std::vector<T, PageAllocator<T>>;

}  // namespace fovea

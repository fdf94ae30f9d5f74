// A copy of some bytes that ends where a page begins that nobody may touch: whoever reads or writes
// behind the last byte ends the test.
#pragma once

#include <sys/mman.h>
#include <unistd.h>

#include <cstddef>
#include <cstring>
#include <stdexcept>

namespace fovea::testing {

class GuardedMemory {
 public:
  GuardedMemory(const void* bytes, size_t count) {
    const auto page = static_cast<size_t>(::sysconf(_SC_PAGESIZE));
    const size_t usable = (count + page - 1) / page * page;
    size_ = usable + page;
    memory_ = ::mmap(nullptr, size_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory_ == MAP_FAILED) throw std::runtime_error("no memory for a guarded copy");
    auto* first = static_cast<std::byte*>(memory_);
    if (::mprotect(first + usable, page, PROT_NONE) != 0) {
      throw std::runtime_error("no page without access");
    }
    data_ = first + usable - count;
    std::memcpy(data_, bytes, count);
  }
  ~GuardedMemory() { ::munmap(memory_, size_); }
  GuardedMemory(const GuardedMemory&) = delete;
  GuardedMemory& operator=(const GuardedMemory&) = delete;

  std::byte* data() const { return data_; }

 private:
  void* memory_ = nullptr;
  size_t size_ = 0;
  std::byte* data_ = nullptr;
};

}  // namespace fovea::testing

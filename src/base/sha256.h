// SHA-256, for what is named by its contents. One thread at a time.
#pragma once

#include <array>
#include <cstddef>
#include <memory>
#include <span>
#include <type_traits>

namespace fovea {

using Sha256Bytes = std::array<std::byte, 32>;

class Sha256 {
 public:
  Sha256();
  ~Sha256();
  Sha256(const Sha256&) = delete;
  Sha256& operator=(const Sha256&) = delete;

  void add(std::span<const std::byte> bytes);
  // The bytes of a value that has no padding.
  template <class T>
  void add_value(const T& value) {
    static_assert(std::has_unique_object_representations_v<T>);
    add(std::as_bytes(std::span(&value, 1)));
  }
  // Of all that was added; nothing may be added after it.
  Sha256Bytes finish();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace fovea

// Writes a safetensors file in a stream: the header from names and shapes alone, then the bytes,
// so that a file of any size takes no memory. One thread at a time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

namespace fovea::nn {

struct TensorEntry {
  std::string name;
  std::string dtype;  // as the format spells it: F32, BF16, F16, U32, U8
  std::vector<int64_t> shape;

  int64_t values() const;
  int64_t bytes() const;
};

class SafetensorsWriter {
 public:
  // Creates the file and writes its header; `tensors` in the order in which their bytes follow.
  // Throws Error(kIo) here and below, naming the file, when the system refuses.
  SafetensorsWriter(const std::filesystem::path& path, std::span<const TensorEntry> tensors);
  ~SafetensorsWriter();
  SafetensorsWriter(const SafetensorsWriter&) = delete;
  SafetensorsWriter& operator=(const SafetensorsWriter&) = delete;

  // The next bytes, cut anywhere.
  void append(std::span<const std::byte> bytes);
  // All bytes that the header promised must have come.
  void close();

 private:
  explicit SafetensorsWriter(const std::filesystem::path& path);

  std::string name_;
  int file_ = -1;
  int64_t bytes_left_ = 0;
};

}  // namespace fovea::nn

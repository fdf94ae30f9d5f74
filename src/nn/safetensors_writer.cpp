#include "nn/safetensors_writer.h"

#include <fcntl.h>
#include <unistd.h>

#include <cassert>
#include <cerrno>
#include <cstring>
#include <functional>
#include <map>
#include <numeric>
#include <utility>

#include "base/error.h"
#include "base/json.h"

namespace fovea::nn {
namespace {

// Readers map the file: data begins at a multiple of this.
constexpr size_t kAlignment = 8;

int64_t element_bytes(const std::string& dtype) {
  static const std::map<std::string, int64_t> kSizes = {
      {"F32", 4}, {"U32", 4}, {"BF16", 2}, {"F16", 2}, {"U8", 1}};
  return kSizes.at(dtype);
}

std::string header(std::span<const TensorEntry> tensors) {
  JsonObject object;
  JsonObject metadata;
  metadata.set("format", "mlx");
  object.set("__metadata__", metadata);
  int64_t at = 0;
  for (const auto& tensor : tensors) {
    JsonArray shape;
    for (const int64_t size : tensor.shape) shape.push(size);
    JsonArray offsets;
    offsets.push(at).push(at + tensor.bytes());
    at += tensor.bytes();
    JsonObject entry;
    entry.set("dtype", tensor.dtype).set("shape", shape).set("data_offsets", offsets);
    object.set(tensor.name, entry);
  }
  std::string text = object.dump();
  text.append((kAlignment - text.size() % kAlignment) % kAlignment, ' ');
  return text;
}

[[noreturn]] void refuse(const std::string& name) {
  fail(ErrorKind::kIo, "[weights] expected to write '{}' but got: {}", name, std::strerror(errno));
}

void write_all(int file, const std::string& name, std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t written = ::write(file, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) refuse(name);
    bytes = bytes.subspan(static_cast<size_t>(written));
  }
}

}  // namespace

int64_t TensorEntry::values() const {
  return std::accumulate(shape.begin(), shape.end(), int64_t{1}, std::multiplies<>());
}

int64_t TensorEntry::bytes() const { return values() * element_bytes(dtype); }

SafetensorsWriter::SafetensorsWriter(const std::filesystem::path& path)
    : name_(path.filename().string()),
      file_(::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644)) {
  if (file_ < 0) refuse(name_);
}

// The destructor closes the file when the header cannot be written.
SafetensorsWriter::SafetensorsWriter(const std::filesystem::path& path,
                                     std::span<const TensorEntry> tensors)
    : SafetensorsWriter(path) {
  for (const auto& tensor : tensors) bytes_left_ += tensor.bytes();
  const std::string text = header(tensors);
  uint64_t size = text.size();  // little-endian, as every machine that this runs on
  write_all(file_, name_, std::as_bytes(std::span(&size, 1)));
  write_all(file_, name_, std::as_bytes(std::span(text)));
}

SafetensorsWriter::~SafetensorsWriter() {
  if (file_ >= 0) ::close(file_);
}

void SafetensorsWriter::append(std::span<const std::byte> bytes) {
  bytes_left_ -= static_cast<int64_t>(bytes.size());
  assert(bytes_left_ >= 0);
  write_all(file_, name_, bytes);
}

void SafetensorsWriter::close() {
  assert(bytes_left_ == 0);
  const int file = std::exchange(file_, -1);
  if (::close(file) != 0) refuse(name_);
}

}  // namespace fovea::nn

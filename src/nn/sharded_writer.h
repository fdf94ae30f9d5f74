// The weights of a checkpoint folder in a stream: model.safetensors, or numbered shards, and
// model.safetensors.index.json, which names the shard of every tensor. One thread at a time.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "nn/safetensors_writer.h"

namespace fovea::nn {

// What Hugging Face and mlx-community write at most into one file.
inline constexpr int64_t kShardBytesMax = int64_t{5} << 30;

struct WrittenWeights {
  int64_t bytes = 0;  // of the tensors
  int files = 0;
};

class ShardedWriter {
 public:
  // `tensors` in the order in which their bytes follow; a shard has `shard_bytes_max` bytes at most
  // but one tensor at least. Throws Error(kIo) here and below, naming the file.
  ShardedWriter(std::filesystem::path folder, std::vector<TensorEntry> tensors,
                int64_t shard_bytes_max = kShardBytesMax);

  // The next bytes, of one tensor.
  void append(std::span<const std::byte> bytes);
  // All bytes that the tensors need must have come. Writes the index.
  WrittenWeights close();

 private:
  void open_shard();

  std::filesystem::path folder_;
  std::vector<TensorEntry> tensors_;
  std::vector<size_t> bounds_;  // first tensors of the shards, and the end
  size_t shard_ = 0;            // the next to be opened
  std::optional<SafetensorsWriter> writer_;
  int64_t shard_bytes_left_ = 0;
};

}  // namespace fovea::nn

#include "nn/sharded_writer.h"

#include <cassert>

#include "base/file.h"
#include "base/format.h"
#include "base/json.h"

namespace fovea::nn {
namespace {

std::vector<size_t> shard_bounds(const std::vector<TensorEntry>& tensors, int64_t bytes_max) {
  std::vector<size_t> bounds = {0};
  int64_t bytes = 0;
  for (size_t i = 0; i < tensors.size(); ++i) {
    if (bytes > 0 && bytes + tensors[i].bytes() > bytes_max) {
      bounds.push_back(i);
      bytes = 0;
    }
    bytes += tensors[i].bytes();
  }
  bounds.push_back(tensors.size());
  return bounds;
}

std::string shard_name(size_t index, size_t count) {
  if (count == 1) return "model.safetensors";
  return fmt::format("model-{:05}-of-{:05}.safetensors", index + 1, count);
}

}  // namespace

ShardedWriter::ShardedWriter(std::filesystem::path folder, std::vector<TensorEntry> tensors,
                             int64_t shard_bytes_max)
    : folder_(std::move(folder)),
      tensors_(std::move(tensors)),
      bounds_(shard_bounds(tensors_, shard_bytes_max)) {}

void ShardedWriter::open_shard() {
  const size_t count = bounds_.size() - 1;
  assert(shard_ < count);
  const auto part =
      std::span(tensors_).subspan(bounds_[shard_], bounds_[shard_ + 1] - bounds_[shard_]);
  for (const auto& tensor : part) shard_bytes_left_ += tensor.bytes();
  writer_.emplace(folder_ / shard_name(shard_, count), part);
  ++shard_;
}

void ShardedWriter::append(std::span<const std::byte> bytes) {
  if (!writer_) open_shard();
  writer_->append(bytes);
  shard_bytes_left_ -= static_cast<int64_t>(bytes.size());
  if (shard_bytes_left_ > 0) return;
  writer_->close();
  writer_.reset();
}

WrittenWeights ShardedWriter::close() {
  const size_t count = bounds_.size() - 1;
  assert(shard_ == count && !writer_);
  WrittenWeights written{0, static_cast<int>(count)};
  JsonObject weight_map;
  for (size_t shard = 0; shard < count; ++shard) {
    for (size_t i = bounds_[shard]; i < bounds_[shard + 1]; ++i) {
      weight_map.set(tensors_[i].name, shard_name(shard, count));
      written.bytes += tensors_[i].bytes();
    }
  }
  JsonObject metadata;
  metadata.set("total_size", written.bytes);
  JsonObject index;
  index.set("metadata", metadata).set("weight_map", weight_map);
  write_file_atomic(folder_ / "model.safetensors.index.json", index.dump());
  return written;
}

}  // namespace fovea::nn

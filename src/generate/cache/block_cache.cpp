#include "generate/cache/block_cache.h"

#include <algorithm>
#include <cassert>

#include "base/error.h"
#include "kernels/append_rows.h"
#include "kernels/kv_bytes.h"
#include "kernels/views.h"
#include "mlx/ops.h"

namespace fovea::generate {
namespace {

using kernels::kBlockRows;
using kernels::rows_of;

constexpr int kRowsKeptFirst = 4;

size_t blocks_of(int rows) { return static_cast<size_t>((rows + kBlockRows - 1) / kBlockRows); }

size_t block_at(int row) { return static_cast<size_t>(row / kBlockRows); }

mx::array keys_of(const mx::array& x_KSD, int begin, int end) {
  return mx::slice(x_KSD, {0, begin, 0}, {x_KSD.shape(0), end, x_KSD.shape(2)});
}

}  // namespace

int Forgetting::first_seen(int position) const {
  int first = 0;
  if (window > 0) first = std::max(first, position + 1 - window);
  if (chunk > 0) first = std::max(first, position / chunk * chunk);
  return first;
}

BlockCache::BlockCache(Options options)
    : options_(std::move(options)), memory_(options_.bytes_max) {
  for (const auto& layer : options_.layers) {
    const Forgetting kind{layer.window, layer.chunk};
    const auto found = std::find(kinds_.begin(), kinds_.end(), kind);
    const auto index = static_cast<size_t>(found - kinds_.begin());
    if (found == kinds_.end()) {
      kinds_.push_back(kind);
      plain_bytes_.push_back(0);
      byte_bytes_.push_back(0);
    }
    const auto laid = [&](mx::Dtype dtype, int64_t& bytes) {
      const kernels::BlockLayout layout{layer.heads, layer.head_dim, dtype, options_.kv_group_size,
                                        bytes};
      // Layers begin at lines of memory.
      bytes += (layout.bytes() + 63) / 64 * 64;
      return layout;
    };
    const auto plain = laid(layer.dtype, plain_bytes_[index]);
    layers_.push_back({index, plain, laid(mx::uint8, byte_bytes_[index])});
  }
}

int64_t BlockCache::estimated_bytes(const std::vector<nn::KvLayer>& layers, int rows, int step,
                                    int max_kv_size) {
  int64_t bytes = 0;
  for (const auto& layer : layers) {
    int kept = rows;
    for (const int most : {layer.window, layer.chunk, max_kv_size}) {
      if (most > 0) kept = std::min(kept, std::min(most, rows) + step + kBlockRows);
    }
    const kernels::BlockLayout layout{layer.heads, layer.head_dim, layer.dtype};
    bytes += static_cast<int64_t>(blocks_of(kept)) * layout.bytes();
  }
  return bytes;
}

int BlockCache::add_sequence() {
  Sequence sequence;
  sequence.kinds.resize(kinds_.size());
  sequences_.emplace(next_sequence_, std::move(sequence));
  return next_sequence_++;
}

int BlockCache::add_sequence(const PrefixBlocks& prefix) {
  if (prefix.rows == 0) return add_sequence();
  assert(prefix.kinds.size() == kinds_.size());
  Sequence sequence;
  sequence.length = prefix.rows;
  sequence.bytes = prefix.bytes;
  for (size_t kind = 0; kind < kinds_.size(); ++kind) {
    auto blocks = prefix.kinds[kind];
    assert(blocks.size() == blocks_of(prefix.rows));
    const int rest = prefix.rows % kBlockRows;
    if (rest > 0) blocks.back() = copy_of(kind, prefix.bytes, blocks.back(), rest);
    sequence.kinds.push_back(std::move(blocks));
  }
  sequences_.emplace(next_sequence_, std::move(sequence));
  return next_sequence_++;
}

void BlockCache::remove_sequence(int sequence) { sequences_.erase(sequence); }

int BlockCache::length(int sequence) const { return sequences_.at(sequence).length; }

int BlockCache::kept_rows(int sequence) const {
  const auto& one = sequences_.at(sequence);
  return one.length - one.first_seen;
}

PrefixBlocks BlockCache::prefix(int sequence) const {
  const auto& one = sequences_.at(sequence);
  if (one.first_seen > 0) return {};
  PrefixBlocks prefix{one.length, one.bytes, one.kinds};
  for (auto& blocks : prefix.kinds) blocks.resize(blocks_of(one.length));
  return prefix;
}

bool BlockCache::in_bytes(int rows) const {
  return options_.kv_bits == 8 && rows >= options_.quantized_kv_start;
}

BlockRef BlockCache::take(size_t kind, bool bytes) {
  const int64_t size = (bytes ? byte_bytes_ : plain_bytes_)[kind];
  auto block = memory_.take(size);
  while (!block && make_room_ && make_room_()) block = memory_.take(size);
  if (!block) {
    throw NoRoom(ErrorKind::kBusy,
                 fmt::format("[cache] expected room for {} bytes more of keys and values but all "
                             "of {} are taken",
                             size, memory_.bytes_max()));
  }
  return block;
}

// A block of the sequence's own with the first rows of another.
BlockRef BlockCache::copy_of(size_t kind, bool bytes, const BlockRef& from, int rows) {
  auto copy = take(kind, bytes);
  for (const auto& layer : layers_) {
    if (layer.kind != kind) continue;
    kernels::copy_block_rows(layer.layout(bytes), from.get(), 0, copy.get(), 0, rows);
  }
  return copy;
}

// Lets go of what no later row sees.
void BlockCache::forget(Sequence& sequence) {
  for (size_t kind = 0; kind < kinds_.size(); ++kind) {
    auto& blocks = sequence.kinds[kind];
    const int first = std::max(kinds_[kind].first_seen(sequence.length), sequence.first_seen);
    const size_t end = std::min(block_at(first), blocks.size());
    for (size_t i = end; i > 0 && blocks[i - 1]; --i) blocks[i - 1].reset();
  }
}

// With max_kv_size the oldest rows go, but for the first ones: those take the places of the last
// that went, so that what rows see is one stretch.
void BlockCache::move_first_rows(Sequence& sequence) {
  if (options_.max_kv_size == 0) return;
  const int kept = std::max(1, options_.max_kv_size - 1);
  const int from = sequence.first_seen;
  const int to = sequence.length - kept;
  if (to <= from) return;
  const int first = std::min(kRowsKeptFirst, kept);
  // Blocks of its own before anything moves: there may be no room for one.
  for (size_t kind = 0; kind < kinds_.size(); ++kind) {
    auto& blocks = sequence.kinds[kind];
    for (size_t i = block_at(to); i <= block_at(to + first - 1); ++i) {
      if (blocks[i] && blocks[i].use_count() > 1) {
        // The first rows may lie in it too.
        auto copy = copy_of(kind, sequence.bytes, blocks[i], kBlockRows);
        blocks[i] = std::move(copy);
      }
    }
  }
  for (const auto& layer : layers_) {
    const auto& blocks = sequence.kinds[layer.kind];
    for (int i = first - 1; i >= 0; --i) {
      const auto& source = blocks[block_at(from + i)];
      const auto& target = blocks[block_at(to + i)];
      if (!source || !target) continue;  // behind the window
      kernels::copy_block_rows(layer.layout(sequence.bytes), source.get(), (from + i) % kBlockRows,
                               target.get(), (to + i) % kBlockRows, 1);
    }
  }
  sequence.first_seen = to;
}

// All of it or, where there is no room, nothing.
void BlockCache::change_to_bytes(Sequence& sequence) {
  auto kinds = sequence.kinds;
  for (size_t kind = 0; kind < kinds_.size(); ++kind) {
    auto& blocks = kinds[kind];
    blocks.resize(blocks_of(sequence.length));
    for (size_t i = 0; i < blocks.size(); ++i) {
      if (!blocks[i]) continue;
      const int rows = std::min(kBlockRows, sequence.length - static_cast<int>(i) * kBlockRows);
      auto rounded = take(kind, true);
      for (const auto& layer : layers_) {
        if (layer.kind != kind) continue;
        kernels::block_rows_to_bytes(layer.plain, blocks[i].get(), layer.bytes, rounded.get(),
                                     rows);
      }
      blocks[i] = std::move(rounded);
    }
  }
  sequence.kinds = std::move(kinds);
  sequence.bytes = true;
}

// For so many rows more.
void BlockCache::make_ready(Sequence& sequence, int count) {
  if (!sequence.bytes && in_bytes(sequence.length - sequence.first_seen)) {
    change_to_bytes(sequence);
  }
  move_first_rows(sequence);
  forget(sequence);
  for (size_t kind = 0; kind < kinds_.size(); ++kind) {
    auto& blocks = sequence.kinds[kind];
    while (blocks.size() < blocks_of(sequence.length + count)) {
      blocks.push_back(take(kind, sequence.bytes));
    }
  }
}

void BlockCache::begin_step(std::span<const nn::Segment> segments) {
  auto step = std::make_shared<Step>();
  ended_.clear();
  for (const auto& segment : segments) {
    auto& sequence = sequences_.at(segment.sequence);
    make_ready(sequence, segment.count);
    if (step->groups.empty() || step->groups.back().bytes != sequence.bytes) {
      step->groups.push_back({sequence.bytes, segment.begin, segment.begin, {}});
      step->groups.back().kinds.resize(kinds_.size());
    }
    auto& group = step->groups.back();
    group.end = segment.begin + segment.count;
    for (size_t kind = 0; kind < kinds_.size(); ++kind) {
      kernels::BlockRun run{segment.begin - group.begin, segment.count, sequence.length,
                            sequence.first_seen, segment.decode};
      for (const auto& [begin, count] : segment.spans) {
        run.spans.push_back({sequence.length + begin, sequence.length + begin + count});
      }
      for (const auto& block : sequence.kinds[kind]) {
        run.blocks.push_back(block.get());
        if (block) step->blocks.push_back(block);
      }
      group.kinds[kind].push_back(std::move(run));
    }
  }
  step_ = std::move(step);
}

void BlockCache::end_step(std::span<const nn::Segment> segments) {
  for (const auto& segment : segments) {
    sequences_.at(segment.sequence).length += segment.count;
    ended_.emplace_back(segment.sequence, segment.count);
  }
  step_.reset();
}

void BlockCache::abandon_step() {
  for (const auto& [id, rows] : ended_) sequences_.at(id).length -= rows;
  ended_.clear();
  step_.reset();
  output_.reset();
}

void BlockCache::keep_step() {
  ended_.clear();
  output_.reset();
}

kernels::AttentionOptions BlockCache::attention_options(const nn::AttentionSpec& spec) const {
  kernels::AttentionOptions options{spec.scale, spec.window, spec.softcap};
  options.chunk = spec.chunk;
  options.sinks = spec.sinks;
  options.kv_group_size = options_.kv_group_size;
  options.products =
      spec.kv_dtype == mx::float32 ? kernels::Products::kFloat32 : kernels::Products::kBFloat16;
  return options;
}

mx::array BlockCache::attend(int layer, const mx::array& q_THD, const mx::array& k_TKD,
                             const mx::array& v_TKD, std::span<const nn::Segment> segments,
                             const nn::AttentionSpec& spec) {
  const auto& of_layer = layers_.at(static_cast<size_t>(layer));
  assert(spec.kv_dtype == of_layer.plain.dtype);
  assert((Forgetting{spec.window, spec.chunk} == kinds_[of_layer.kind]));
  if (layer == 0) begin_step(segments);
  std::vector<mx::array> outputs;
  for (const auto& group : step_->groups) {
    const auto rows = [&](const mx::array& x) {
      return step_->groups.size() == 1 ? x : rows_of(x, group.begin, group.end);
    };
    const std::shared_ptr<const std::vector<kernels::BlockRun>> runs(step_,
                                                                     &group.kinds[of_layer.kind]);
    outputs.push_back(kernels::block_attention(rows(q_THD), rows(k_TKD), rows(v_TKD), runs,
                                               of_layer.layout(group.bytes),
                                               attention_options(spec)));
  }
  auto out_THD = kernels::joined_rows(outputs);
  if (static_cast<size_t>(layer) + 1 == layers_.size()) {
    end_step(segments);
    output_ = out_THD;
  }
  return out_THD;
}

void BlockCache::set_views(int sequence, std::vector<nn::MediaView> views) {
  assert(!views.empty() && views.front().begin == 0);
  sequences_.at(sequence).views = std::move(views);
}

void BlockCache::keep_states(int layer, int sequence, const mx::array& k_SKD,
                             const mx::array& v_SKD, const nn::AttentionSpec& spec) {
  auto& states = sequences_.at(sequence).states;
  assert(static_cast<size_t>(layer) == states.size());
  const int count = k_SKD.shape(0);
  const int dim = k_SKD.shape(2);
  const bool bytes = in_bytes(count);
  const int elements = bytes ? kernels::kv_row_bytes(dim, options_.kv_group_size) : dim;
  const auto kept = [&](const mx::array& x_SKD) {
    const auto empty =
        mx::zeros({k_SKD.shape(1), count, elements}, bytes ? mx::uint8 : spec.kv_dtype);
    return bytes ? kernels::append_kv_bytes(empty, x_SKD, 0, options_.kv_group_size)
                 : kernels::append_rows(empty, x_SKD, 0);
  };
  const KeysAndValues all{kept(k_SKD), kept(v_SKD)};
  states.push_back({all, {}, all});
}

std::vector<mx::array> BlockCache::states() const {
  std::vector<mx::array> all;
  for (const auto& [id, sequence] : sequences_) {
    for (const auto& states : sequence.states) {
      all.push_back(states.all.k);
      all.push_back(states.all.v);
    }
  }
  return all;
}

std::vector<nn::LookingRows> BlockCache::looking_rows(std::span<const nn::Segment> segments) const {
  std::vector<nn::LookingRows> looking;
  for (const auto& segment : segments) {
    const auto& sequence = sequences_.at(segment.sequence);
    nn::add_looking_rows(sequence.views, segment, sequence.length, looking);
  }
  return looking;
}

mx::array BlockCache::attend_across(int layer, const mx::array& q_UHD,
                                    std::span<const nn::LookingRows> looking,
                                    const nn::AttentionSpec& spec) {
  std::vector<mx::array> outputs;
  int begin = 0;
  for (const auto& rows : looking) {
    auto& states = sequences_.at(rows.sequence).states.at(static_cast<size_t>(layer));
    if (states.run != rows.states) {
      const auto seen = [&](const mx::array& x_KSD) {
        return mx::transpose(
            keys_of(x_KSD, rows.states.begin, rows.states.begin + rows.states.count), {1, 0, 2});
      };
      states.seen = {seen(states.all.k), seen(states.all.v)};
      states.run = rows.states;
    }
    auto options = attention_options(spec);
    options.decode = rows.decode;
    outputs.push_back(kernels::cross_attention(rows_of(q_UHD, begin, begin + rows.count),
                                               states.seen.k, states.seen.v, options));
    begin += rows.count;
  }
  return kernels::joined_rows(outputs);
}

}  // namespace fovea::generate

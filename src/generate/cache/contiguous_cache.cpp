#include "generate/cache/contiguous_cache.h"

#include <algorithm>
#include <cassert>

#include "kernels/append_rows.h"
#include "kernels/attention.h"
#include "mlx/ops.h"
#include "nn/span_attention.h"

namespace fovea::generate {
namespace {

constexpr int kCapacityMin = 256;
constexpr int kRowsKeptFirst = 4;

mx::array rows_of(const mx::array& x, int begin, int end) {
  if (begin == 0 && end == x.shape(0)) return x;
  return mx::slice(x, {begin, 0, 0}, {end, x.shape(1), x.shape(2)});
}

// Rows of spans see their whole span, those between them what came before.
void attend_segment(const mx::array& q_THD, const mx::array& k_CKD, const mx::array& v_CKD,
                    int past, const nn::Segment& segment, const nn::AttentionSpec& spec,
                    std::vector<mx::array>& outputs) {
  int at = 0;
  const auto causal_until = [&](int end) {
    if (end == at) return;
    outputs.push_back(
        kernels::causal_attention(rows_of(q_THD, at, end), k_CKD, v_CKD, past + at,
                                  {spec.scale, spec.window, spec.softcap, segment.decode}));
    at = end;
  };
  for (const auto& [begin, count] : segment.spans) {
    causal_until(begin);
    outputs.push_back(
        nn::span_attention(rows_of(q_THD, begin, begin + count), k_CKD, v_CKD, past + begin, spec));
    at = begin + count;
  }
  causal_until(segment.count);
}

mx::array empty_rows(const mx::array& like, int rows, mx::Dtype dtype) {
  return mx::zeros({rows, like.shape(1), like.shape(2)}, dtype);
}

}  // namespace

int ContiguousCache::add_sequence(int expected_rows) {
  const int most = options_.max_kv_size > 0 ? options_.max_kv_size : expected_rows;
  sequences_.emplace(next_sequence_, Sequence{{}, 0, std::min(expected_rows, most)});
  return next_sequence_++;
}

void ContiguousCache::remove_sequence(int sequence) { sequences_.erase(sequence); }

int ContiguousCache::length(int sequence) const { return sequences_.at(sequence).length; }

std::vector<mx::array> ContiguousCache::buffers() const {
  std::vector<mx::array> all;
  for (const auto& [id, sequence] : sequences_) {
    for (const auto& layer : sequence.layers) {
      all.push_back(layer.k_CKD);
      all.push_back(layer.v_CKD);
    }
  }
  return all;
}

// How many of `length` rows stay when more come.
int ContiguousCache::kept_length(int length) const {
  if (options_.max_kv_size == 0) return length;
  return std::min(length, std::max(1, options_.max_kv_size - 1));
}

// The buffer after `rows` were added to those that the sequence has, of which the middle may go
// first.
mx::array ContiguousCache::extend(const mx::array* buffer, const Sequence& sequence,
                                  const mx::array& rows, mx::Dtype dtype) const {
  const int count = rows.shape(0);
  const int length = sequence.length;
  if (!buffer) {
    const int capacity = std::max({kCapacityMin, count, sequence.expected_rows});
    return kernels::append_rows(empty_rows(rows, capacity, dtype), rows, 0);
  }
  const int kept = kept_length(length);
  if (kept < length) {
    const int first = std::min(kRowsKeptFirst, kept);
    const auto shrunk = mx::concatenate(
        {rows_of(*buffer, 0, first), rows_of(*buffer, length - (kept - first), length),
         empty_rows(rows, count, dtype)},
        0);
    return kernels::append_rows(shrunk, rows, kept);
  }
  if (length + count <= buffer->shape(0)) return kernels::append_rows(*buffer, rows, length);
  const int capacity = length + count + std::max(kCapacityMin, length / 4);
  const auto grown =
      mx::concatenate({rows_of(*buffer, 0, length), empty_rows(rows, capacity - length, dtype)}, 0);
  return kernels::append_rows(grown, rows, length);
}

mx::array ContiguousCache::attend(int layer, const mx::array& q_THD, const mx::array& k_TKD,
                                  const mx::array& v_TKD, std::span<const nn::Segment> segments,
                                  const nn::AttentionSpec& spec) {
  std::vector<mx::array> outputs;
  for (const auto& segment : segments) {
    auto& sequence = sequences_.at(segment.sequence);
    const auto index = static_cast<size_t>(layer);
    const int end = segment.begin + segment.count;
    const bool fresh = sequence.layers.size() == index;
    assert(fresh || index < sequence.layers.size());
    const auto k = rows_of(k_TKD, segment.begin, end);
    const auto v = rows_of(v_TKD, segment.begin, end);
    const Layer* old = fresh ? nullptr : &sequence.layers[index];
    Layer next{extend(old ? &old->k_CKD : nullptr, sequence, k, spec.kv_dtype),
               extend(old ? &old->v_CKD : nullptr, sequence, v, spec.kv_dtype)};
    const int past = kept_length(sequence.length);
    attend_segment(rows_of(q_THD, segment.begin, end), next.k_CKD, next.v_CKD, past, segment, spec,
                   outputs);
    if (fresh) {
      sequence.layers.push_back(std::move(next));
    } else {
      sequence.layers[index] = std::move(next);
    }
    // All layers of a step see the same length; the last one moves it on.
    if (layer + 1 == options_.num_layers) sequence.length = past + segment.count;
  }
  return outputs.size() == 1 ? outputs[0] : mx::concatenate(outputs, 0);
}

}  // namespace fovea::generate

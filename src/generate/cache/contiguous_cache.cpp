#include "generate/cache/contiguous_cache.h"

#include <algorithm>
#include <cassert>

#include "kernels/append_rows.h"
#include "kernels/decode_attention.h"
#include "kernels/kv_bytes.h"
#include "kernels/views.h"
#include "mlx/ops.h"

namespace fovea::generate {
namespace {

using kernels::rows_of;

constexpr int kCapacityMin = 256;
constexpr int kRowsKeptFirst = 4;

mx::array keys_of(const mx::array& x_KCD, int begin, int end) {
  return mx::slice(x_KCD, {0, begin, 0}, {x_KCD.shape(0), end, x_KCD.shape(2)});
}

// Room after `count` rows came to `length` that filled it: a stretch more, not twice as much.
int64_t grown_capacity(int64_t length, int count) {
  return length + count + std::max<int64_t>(kCapacityMin, length / 4);
}

}  // namespace

int expected_rows(int prompt_length, int max_tokens) {
  constexpr int kRowsAhead = 256;
  return prompt_length + std::min(max_tokens, kRowsAhead);
}

int64_t ContiguousCache::capacity(int first, int length, int expected, int max_kv_size) {
  const int most = max_kv_size > 0 ? max_kv_size : expected;
  int64_t rows = std::max({kCapacityMin, first, std::min(expected, most)});
  const int64_t kept = max_kv_size == 0 ? length : std::min(length, max_kv_size);
  while (rows < kept) rows = grown_capacity(rows, 1);
  return rows;
}

int ContiguousCache::add_sequence(int expected_rows) {
  const int most = options_.max_kv_size > 0 ? options_.max_kv_size : expected_rows;
  sequences_.emplace(next_sequence_,
                     Sequence{.layers = {}, .expected_rows = std::min(expected_rows, most)});
  return next_sequence_++;
}

void ContiguousCache::remove_sequence(int sequence) { sequences_.erase(sequence); }

int ContiguousCache::length(int sequence) const { return sequences_.at(sequence).length; }

std::vector<mx::array> ContiguousCache::buffers() const {
  std::vector<mx::array> all;
  for (const auto& [id, sequence] : sequences_) {
    for (const auto& layer : sequence.layers) {
      all.push_back(layer.k_KCD);
      all.push_back(layer.v_KCD);
    }
    for (const auto& states : sequence.states) {
      all.push_back(states.all.k_KCD);
      all.push_back(states.all.v_KCD);
    }
  }
  return all;
}

// How many of `length` rows stay when more come.
int ContiguousCache::kept_length(int length) const {
  if (options_.max_kv_size == 0) return length;
  return std::min(length, std::max(1, options_.max_kv_size - 1));
}

// Room for more keys beside rows [T, K, D].
mx::array ContiguousCache::empty_keys(const mx::array& rows_TKD, int keys, mx::Dtype dtype) const {
  const int dim = rows_TKD.shape(2);
  const bool bytes = dtype == mx::uint8;
  const int size = bytes ? kernels::kv_row_bytes(dim, options_.kv_group_size) : dim;
  return mx::zeros({rows_TKD.shape(1), keys, size}, dtype);
}

mx::array ContiguousCache::append(const mx::array& buffer, const mx::array& rows_TKD,
                                  int at) const {
  if (buffer.dtype() != mx::uint8) return kernels::append_rows(buffer, rows_TKD, at);
  return kernels::append_kv_bytes(buffer, rows_TKD, at, options_.kv_group_size);
}

// The buffer in another dtype: 8 bits that begin later.
mx::array ContiguousCache::in_dtype(const mx::array& buffer, int length, mx::Dtype dtype) const {
  if (buffer.dtype() == dtype) return buffer;
  const auto rows_TKD = mx::transpose(keys_of(buffer, 0, length), {1, 0, 2});
  return append(empty_keys(rows_TKD, buffer.shape(1), dtype), rows_TKD, 0);
}

// The buffer with room for `rows` behind the keys that the sequence keeps, of which the middle may
// go first.
mx::array ContiguousCache::with_room(const mx::array* buffer, const Sequence& sequence,
                                     const mx::array& rows_TKD, mx::Dtype dtype) const {
  const int count = rows_TKD.shape(0);
  const int length = sequence.length;
  if (!buffer) {
    const int capacity = std::max({kCapacityMin, count, sequence.expected_rows});
    return empty_keys(rows_TKD, capacity, dtype);
  }
  const auto old = in_dtype(*buffer, length, dtype);
  const int kept = kept_length(length);
  if (kept < length) {
    const int first = std::min(kRowsKeptFirst, kept);
    return mx::concatenate({keys_of(old, 0, first), keys_of(old, length - (kept - first), length),
                            empty_keys(rows_TKD, count, dtype)},
                           1);
  }
  if (length + count <= old.shape(1)) return old;
  const auto more = static_cast<int>(grown_capacity(length, count) - length);
  return mx::concatenate({keys_of(old, 0, length), empty_keys(rows_TKD, more, dtype)}, 1);
}

// What the layer keeps of the sequence, with room for more rows.
ContiguousCache::Layer ContiguousCache::layer_with_room(int layer, const Sequence& sequence,
                                                        const mx::array& k_TKD,
                                                        const mx::array& v_TKD,
                                                        const nn::AttentionSpec& spec) const {
  const auto index = static_cast<size_t>(layer);
  assert(index <= sequence.layers.size());
  const Layer* old = index < sequence.layers.size() ? &sequence.layers[index] : nullptr;
  const bool bytes = (old && old->k_KCD.dtype() == mx::uint8) ||
                     (options_.kv_bits == 8 && sequence.length >= options_.quantized_kv_start);
  const auto dtype = bytes ? mx::uint8 : spec.kv_dtype;
  return {with_room(old ? &old->k_KCD : nullptr, sequence, k_TKD, dtype),
          with_room(old ? &old->v_KCD : nullptr, sequence, v_TKD, dtype)};
}

// Of the step's last layer: all layers of a step see the same length.
void ContiguousCache::keep(int layer, Sequence& sequence, Layer kept, int rows) const {
  const auto index = static_cast<size_t>(layer);
  if (index == sequence.layers.size()) {
    sequence.layers.push_back(std::move(kept));
  } else {
    sequence.layers[index] = std::move(kept);
  }
  if (layer + 1 < options_.num_layers) return;
  sequence.length = kept_length(sequence.length) + rows;
  sequence.rows += rows;
}

kernels::AttentionOptions ContiguousCache::attention_options(const nn::AttentionSpec& spec,
                                                             bool decode) const {
  kernels::AttentionOptions options{spec.scale, spec.window, spec.softcap, decode};
  options.chunk = spec.chunk;
  options.sinks = spec.sinks;
  options.kv_group_size = options_.kv_group_size;
  options.products =
      spec.kv_dtype == mx::float32 ? kernels::Products::kFloat32 : kernels::Products::kBFloat16;
  return options;
}

mx::array ContiguousCache::attend_prompt(int layer, const mx::array& q_THD, const mx::array& k_TKD,
                                         const mx::array& v_TKD, const nn::Segment& segment,
                                         const nn::AttentionSpec& spec) {
  auto& sequence = sequences_.at(segment.sequence);
  const int past = kept_length(sequence.length);
  Layer next = layer_with_room(layer, sequence, k_TKD, v_TKD, spec);
  next.k_KCD = append(next.k_KCD, k_TKD, past);
  next.v_KCD = append(next.v_KCD, v_TKD, past);
  auto options = attention_options(spec, segment.decode);
  for (const auto& [begin, count] : segment.spans) {
    options.spans.push_back({past + begin, past + begin + count});
  }
  const auto out_THD = kernels::causal_attention(q_THD, next.k_KCD, next.v_KCD, past, options);
  keep(layer, sequence, std::move(next), segment.count);
  return out_THD;
}

mx::array ContiguousCache::attend_answers(int layer, const mx::array& q_THD, const mx::array& k_TKD,
                                          const mx::array& v_TKD,
                                          std::span<const nn::Segment> segments,
                                          const nn::AttentionSpec& spec) {
  std::vector<kernels::DecodeSequence> rows;
  for (int i = 0; const auto& segment : segments) {
    const auto& sequence = sequences_.at(segment.sequence);
    auto next =
        layer_with_room(layer, sequence, rows_of(k_TKD, i, i + 1), rows_of(v_TKD, i, i + 1), spec);
    rows.push_back({std::move(next.k_KCD), std::move(next.v_KCD), kept_length(sequence.length)});
    ++i;
  }
  const auto out_THD =
      kernels::decode_attention(q_THD, k_TKD, v_TKD, rows, attention_options(spec, true));
  for (size_t i = 0; i < segments.size(); ++i) {
    keep(layer, sequences_.at(segments[i].sequence),
         {std::move(rows[i].k_KCD), std::move(rows[i].v_KCD)}, 1);
  }
  return out_THD;
}

mx::array ContiguousCache::attend(int layer, const mx::array& q_THD, const mx::array& k_TKD,
                                  const mx::array& v_TKD, std::span<const nn::Segment> segments,
                                  const nn::AttentionSpec& spec) {
  std::vector<mx::array> outputs;
  while (!segments.empty()) {
    const auto answers_end = std::find_if(segments.begin(), segments.end(), [](const auto& s) {
      return !s.decode || s.count != 1 || !s.spans.empty();
    });
    const auto answers = static_cast<size_t>(answers_end - segments.begin());
    const auto first = segments.first(std::max<size_t>(1, answers));
    const int begin = first[0].begin;
    const int end = first.back().begin + first.back().count;
    const auto q = rows_of(q_THD, begin, end);
    const auto k = rows_of(k_TKD, begin, end);
    const auto v = rows_of(v_TKD, begin, end);
    outputs.push_back(answers > 0 ? attend_answers(layer, q, k, v, first, spec)
                                  : attend_prompt(layer, q, k, v, first[0], spec));
    segments = segments.subspan(first.size());
  }
  return kernels::joined_rows(outputs);
}

void ContiguousCache::set_views(int sequence, std::vector<nn::MediaView> views) {
  assert(!views.empty() && views.front().begin == 0);
  sequences_.at(sequence).views = std::move(views);
}

void ContiguousCache::keep_states(int layer, int sequence, const mx::array& k_SKD,
                                  const mx::array& v_SKD, const nn::AttentionSpec& spec) {
  auto& states = sequences_.at(sequence).states;
  assert(static_cast<size_t>(layer) == states.size());
  const int count = k_SKD.shape(0);
  const bool bytes = options_.kv_bits == 8 && count >= options_.quantized_kv_start;
  const auto dtype = bytes ? mx::uint8 : spec.kv_dtype;
  const auto kept = [&](const mx::array& x_SKD) {
    return append(empty_keys(x_SKD, count, dtype), x_SKD, 0);
  };
  const Layer all{kept(k_SKD), kept(v_SKD)};
  states.push_back({all, {}, all});
}

std::vector<nn::LookingRows> ContiguousCache::looking_rows(
    std::span<const nn::Segment> segments) const {
  std::vector<nn::LookingRows> looking;
  for (const auto& segment : segments) {
    const auto& sequence = sequences_.at(segment.sequence);
    nn::add_looking_rows(sequence.views, segment, sequence.rows, looking);
  }
  return looking;
}

mx::array ContiguousCache::attend_across(int layer, const mx::array& q_UHD,
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
      states.seen = {seen(states.all.k_KCD), seen(states.all.v_KCD)};
      states.run = rows.states;
    }
    outputs.push_back(kernels::cross_attention(rows_of(q_UHD, begin, begin + rows.count),
                                               states.seen.k_KCD, states.seen.v_KCD,
                                               attention_options(spec, rows.decode)));
    begin += rows.count;
  }
  return kernels::joined_rows(outputs);
}

}  // namespace fovea::generate

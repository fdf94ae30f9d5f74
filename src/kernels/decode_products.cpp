#include "kernels/decode_products.h"

#include <algorithm>
#include <vector>

#include "base/thread_pool.h"
#include "kernels/op.h"

namespace fovea::kernels {
namespace {

// Few rows are split finely enough for all threads; several go through whole panels of columns.
int column_unit(int m_count) { return m_count == 1 ? 16 : isa::kDecodePanel; }

// Rows of x as products with a weight want them: floats, or bytes that weights alike share.
struct PreparedRows {
  const float* floats = nullptr;
  const std::byte* bytes = nullptr;
  int count = 0;

  void multiply(const DecodeWeight& w, int begin, int end) const {
    const auto& table = isa::table();
    if (bytes) {
      return table.decode_product(bytes, count, w.weight, begin, end, w.bias, w.y, w.n);
    }
    thread_local std::vector<float> scratch;
    const int k = w.weight.k;
    const size_t needed = static_cast<size_t>(isa::panel_columns(k)) * static_cast<size_t>(k);
    table.product(floats, count, w.weight, begin, end, w.bias, w.y, w.n, kept(scratch, needed));
  }
};

bool alike(const isa::WeightRows& a, const isa::WeightRows& b) {
  return a.bits == b.bits && a.group_size == b.group_size;
}

// In memory of the calling thread, until its next call.
std::vector<PreparedRows> prepared(const float* x, int m_count,
                                   std::span<const DecodeWeight> weights) {
  thread_local std::vector<std::byte> memory;
  const auto& table = isa::table();
  const auto row_bytes = [&](size_t i) {
    const auto& w = weights[i].weight;
    const bool same = w.bits == 0 || (i > 0 && alike(w, weights[i - 1].weight));
    return same ? size_t{0} : table.decode_row_bytes(w);
  };
  size_t needed = 0;
  for (size_t i = 0; i < weights.size(); ++i) needed += row_bytes(i);
  std::byte* next = kept(memory, needed * static_cast<size_t>(m_count));
  std::vector<PreparedRows> rows;
  for (size_t i = 0; i < weights.size(); ++i) {
    const auto& w = weights[i].weight;
    const size_t bytes = row_bytes(i);
    if (w.bits == 0 || bytes == 0) {
      rows.push_back(w.bits == 0 ? PreparedRows{x, nullptr, m_count} : rows.back());
      continue;
    }
    constexpr int kRowGrain = 4;
    parallel_for(m_count, kRowGrain, [&](int begin, int end) {
      for (int m = begin; m < end; ++m) {
        table.prepare_decode_row(x + int64_t{m} * w.k, w, next + static_cast<size_t>(m) * bytes);
      }
    });
    rows.push_back({nullptr, next, m_count});
    next += bytes * static_cast<size_t>(m_count);
  }
  return rows;
}

int units_of(int n, int unit) { return (n + unit - 1) / unit; }

// Units that a thread takes at a time. A piece begins with weights that nobody has fetched ahead,
// so it is not small; but no thread goes without.
int grain_of(int units, int unit, const isa::WeightRows& w) {
  constexpr int kPieceBytes = 96 * 1024;
  const int bits = w.bits == 0 ? 16 : w.bits;
  const int64_t bytes = int64_t{unit} * w.k * bits / 8;
  const auto wanted = static_cast<int>(kPieceBytes / std::max<int64_t>(bytes, 1));
  return std::max(1, std::min(wanted, units / ThreadPool::instance().size()));
}

}  // namespace

void decode_products(const float* x, int m_count, std::span<const DecodeWeight> weights,
                     const ColumnsDone& then) {
  const auto rows = prepared(x, m_count, weights);
  const int unit = column_unit(m_count);
  int units = 0;
  for (const auto& w : weights) units += units_of(w.n, unit);
  const int grain = grain_of(units, unit, weights[0].weight);
  parallel_for(units, grain, [&](int begin, int end) {
    int first = 0;  // unit of this weight
    for (size_t i = 0; i < weights.size() && first < end; ++i) {
      const auto& w = weights[i];
      const int from = std::max(begin - first, 0) * unit;
      const int to = std::min((end - first) * unit, w.n);
      first += units_of(w.n, unit);
      if (from >= to) continue;
      rows[i].multiply(w, from, to);
      if (then) then(i, from, to);
    }
  });
}

void decode_gated(const float* x, int m_count, DecodeWeight gate, const DecodeWeight& up,
                  Activation activation) {
  thread_local std::vector<float> memory;
  const int n = up.n;
  gate.y = kept(memory, static_cast<size_t>(m_count) * static_cast<size_t>(n));
  const DecodeWeight both[] = {gate, up};
  const auto rows = prepared(x, m_count, both);
  const int unit = column_unit(m_count);
  const int units = units_of(n, unit);
  parallel_for(units, grain_of(units, unit, up.weight), [&](int begin, int end) {
    const int from = begin * unit;
    const int to = std::min(end * unit, n);
    rows[0].multiply(gate, from, to);
    rows[1].multiply(up, from, to);
    for (int m = 0; m < m_count; ++m) {
      float* g = gate.y + int64_t{m} * n;
      float* y = up.y + int64_t{m} * n;
      activate(activation, g + from, static_cast<size_t>(to - from), g + from);
      for (int i = from; i < to; ++i) y[i] *= g[i];
    }
  });
}

}  // namespace fovea::kernels

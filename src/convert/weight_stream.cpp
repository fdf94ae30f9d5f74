#include "convert/weight_stream.h"

#include <algorithm>

#include "base/thread_pool.h"
#include "mlx/ops.h"
#include "mlx/transforms.h"

namespace fovea::convert {
namespace {

using Work = PlannedWeight::Work;

constexpr int64_t kPieceValues = int64_t{4} << 20;

// Rows [begin, end) of a weight with its factors, cut.
mx::array scaled(const PlannedWeight& weight, mx::array rows, int begin, int end,
                 const mx::Stream& stream) {
  if (weight.column_factors || weight.row_factors) rows = mx::astype(rows, mx::float32, stream);
  if (weight.column_factors) rows = mx::multiply(rows, *weight.column_factors, stream);
  if (weight.row_factors) {
    const auto factors = mx::slice(*weight.row_factors, {begin}, {end}, stream);
    rows = mx::multiply(rows, mx::reshape(factors, {end - begin, 1}, stream), stream);
  }
  if (weight.clip_steps) {
    const int groups = weight.clip_steps->shape(1);
    const auto steps = mx::slice(*weight.clip_steps, {begin, 0}, {end, groups}, stream);
    rows = clipped(mx::astype(rows, mx::float32, stream), steps, weight.format.group_size, stream);
  }
  return rows;
}

// Rows [begin, end) of each source.
std::vector<mx::array> rows_of(const PlannedWeight& weight, int begin, int end,
                               const mx::Stream& stream) {
  if (!weight.matrices.empty()) {
    const auto first = weight.matrices.begin();
    return {mx::stack({first + begin, first + end}, stream)};
  }
  std::vector<mx::array> rows;
  for (const auto& source : weight.sources) {
    if (source.ndim() == 0) return weight.sources;
    mx::Shape from(source.ndim(), 0);
    mx::Shape to = source.shape();
    from[0] = begin;
    to[0] = end;
    rows.push_back(mx::slice(source, from, to, stream));
  }
  return rows;
}

// What is written of some rows: one array for each entry.
std::vector<mx::array> work_on(const PlannedWeight& weight, const std::vector<mx::array>& rows,
                               const mx::Stream& stream) {
  const auto& [mode, group_size, bits] = weight.format;
  switch (weight.work) {
    case Work::kQuantize:
      return mx::quantize(mx::astype(rows[0], weight.dtype, stream), group_size, bits, mode,
                          std::nullopt, stream);
    case Work::kDequantize: {
      std::optional<mx::array> biases;
      if (rows.size() == 3) biases = rows[2];
      const auto plain = mx::dequantize(rows[0], rows[1], biases, group_size, bits, mode,
                                        std::nullopt, std::nullopt, stream);
      return {mx::astype(plain, weight.dtype, stream)};
    }
    default:
      return {mx::contiguous(mx::astype(rows[0], weight.dtype, stream), false, stream)};
  }
}

std::span<const std::byte> bytes_of(const mx::array& x) {
  return {reinterpret_cast<const std::byte*>(x.data<uint8_t>()), x.nbytes()};
}

}  // namespace

mx::array clipped(const mx::array& rows, const mx::array& steps, int group_size,
                  const mx::Stream& stream) {
  const int count = rows.shape(0);
  const auto groups = mx::reshape(rows, {count, -1, group_size}, stream);
  const auto kept = mx::subtract(
      mx::array(1.0f), mx::divide(mx::astype(steps, mx::float32, stream), mx::array(20.0f), stream),
      stream);
  const auto largest = mx::max(mx::abs(groups, stream), -1, true, stream);
  const auto limit = mx::multiply(largest, mx::expand_dims(kept, -1, stream), stream);
  return mx::reshape(
      mx::minimum(mx::maximum(groups, mx::negative(limit, stream), stream), limit, stream),
      rows.shape(), stream);
}

std::vector<mx::Stream> worker_streams() {
  std::vector<mx::Stream> streams;
  for (int i = 0; i < ThreadPool::instance().size(); ++i) {
    streams.push_back(mx::new_stream(mx::Device::cpu));
  }
  return streams;
}

WeightStream::WeightStream(Sink sink, Step step)
    : sink_(std::move(sink)), step_(std::move(step)), streams_(worker_streams()) {}

void WeightStream::write(const PlannedWeight& weight) {
  const mx::array& first = weight.sources[0];
  const int rows = first.ndim() > 0 ? first.shape(0) : 1;
  const int64_t row_values = weight.entries[0].values() / std::max(rows, 1);
  const int piece = static_cast<int>(
      std::clamp<int64_t>(kPieceValues / std::max<int64_t>(row_values, 1), 1, rows));
  // Scales and biases of all rows come after the packed weight of all rows.
  std::vector<std::vector<std::byte>> later(weight.entries.size() - 1);
  for (int begin = 0; begin < rows;) {
    std::vector<std::vector<mx::array>> made;
    std::vector<mx::array> pending;
    int64_t read = 0;
    for (size_t i = 0; i < streams_.size() && begin < rows; ++i, begin += piece) {
      const int end = std::min(begin + piece, rows);
      auto sources = rows_of(weight, begin, end, streams_[i]);
      for (const auto& source : sources) read += static_cast<int64_t>(source.nbytes());
      sources[0] = scaled(weight, sources[0], begin, end, streams_[i]);
      made.push_back(work_on(weight, sources, streams_[i]));
      pending.insert(pending.end(), made.back().begin(), made.back().end());
    }
    mx::eval(std::move(pending));
    for (const auto& arrays : made) {
      sink_(bytes_of(arrays[0]));
      for (size_t i = 1; i < arrays.size(); ++i) {
        const auto bytes = bytes_of(arrays[i]);
        later[i - 1].insert(later[i - 1].end(), bytes.begin(), bytes.end());
      }
    }
    step_(read);
  }
  for (const auto& bytes : later) sink_(bytes);
}

}  // namespace fovea::convert

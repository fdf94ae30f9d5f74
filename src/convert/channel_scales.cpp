#include "convert/channel_scales.h"

#include <algorithm>
#include <cmath>

#include "convert/weight_stream.h"
#include "mlx/ops.h"
#include "mlx/transforms.h"

namespace fovea::convert {
namespace {

using models::InputGroup;
using Work = PlannedWeight::Work;

constexpr int kAlphaSteps = 20;
constexpr float kSmallest = 1e-4f;  // of a mean, and of a scale
constexpr int64_t kPieceValues = int64_t{1} << 20;

// The planned tensor of this name, or null.
PlannedWeight* find(Plan& plan, const std::string& tensor) {
  const auto found =
      std::find_if(plan.weights.begin(), plan.weights.end(),
                   [&](const PlannedWeight& weight) { return weight.entries[0].name == tensor; });
  return found == plan.weights.end() ? nullptr : &*found;
}

std::vector<PlannedWeight*> products_of(Plan& plan, const InputGroup& group) {
  std::vector<PlannedWeight*> products;
  for (const auto& path : group.products) {
    PlannedWeight* weight = find(plan, path + ".weight");
    if (weight) products.push_back(weight);
  }
  return products;
}

// [R] -> [K].
mx::array repeated(const InputGroup& group, const mx::array& x_R) {
  if (group.repeats <= 1) return x_R;
  const int runs = group.rows / group.run;
  return mx::reshape(
      mx::broadcast_to(mx::reshape(x_R, {runs, 1, group.run}), {runs, group.repeats, group.run}),
      {-1});
}

// [K] -> [R], means.
mx::array gathered(const InputGroup& group, const mx::array& x_K) {
  if (group.repeats <= 1) return x_K;
  const auto runs = mx::reshape(x_K, {group.rows / group.run, group.repeats, group.run});
  return mx::reshape(mx::mean(runs, 1), {-1});
}

mx::array multiplied(const std::optional<mx::array>& old, const mx::array& by) {
  return old ? mx::multiply(*old, by) : by;
}

// Divides the norm's channels; what its columns have to be multiplied by.
mx::array scale_norm(PlannedWeight& norm, float offset, const mx::array& scale_R) {
  const mx::array plus(offset);
  const auto before = mx::add(mx::astype(norm.sources[0], mx::float32), plus);
  auto folded = mx::astype(mx::subtract(mx::divide(before, scale_R), plus), norm.dtype);
  const auto after = mx::add(mx::astype(folded, mx::float32), plus);
  const auto lost =
      mx::logical_or(mx::equal(after, mx::array(0.0f)), mx::equal(before, mx::array(0.0f)));
  auto columns = mx::where(lost, mx::array(1.0f), mx::divide(before, after));
  mx::eval({folded, columns});
  norm.sources[0] = folded;
  return columns;
}

void scale_rows(Plan& plan, const InputGroup& group, const mx::array& scale_R) {
  PlannedWeight* weight = find(plan, group.source_path + ".weight");
  const int after = weight->sources[0].shape(0) - group.first_row - group.rows;
  auto factors =
      mx::pad(mx::divide(mx::array(1.0f), scale_R), {{group.first_row, after}}, mx::array(1.0f));
  mx::eval(factors);
  weight->row_factors = multiplied(weight->row_factors, factors);
  PlannedWeight* bias = find(plan, group.source_path + ".bias");
  if (!bias) return;
  auto scaled =
      mx::astype(mx::multiply(mx::astype(bias->sources[0], mx::float32), factors), bias->dtype);
  mx::eval(scaled);
  bias->sources[0] = scaled;
}

mx::array as_written(const PlannedWeight& weight, const mx::array& rows, const mx::Stream& stream) {
  const auto& [mode, group_size, bits] = weight.format;
  const auto packed = mx::quantize(mx::astype(rows, weight.dtype, stream), group_size, bits, mode,
                                   std::nullopt, stream);
  std::optional<mx::array> biases;
  if (packed.size() == 3) biases = packed[2];
  return mx::astype(mx::dequantize(packed[0], packed[1], biases, group_size, bits, mode,
                                   std::nullopt, std::nullopt, stream),
                    mx::float32, stream);
}

// Of each candidate the error of one group's weights on the kept rows: for each weight and row, the
// squares of the error over those of the output, so that neither a weight of large outputs nor a
// token of large activations decides alone.
class Search {
 public:
  Search(const Activations& rows_NK, std::vector<mx::array> candidates_K,
         const std::vector<mx::Stream>& streams)
      : rows_KN_(mx::contiguous(mx::transpose(mx::astype(rows_NK, mx::float32)))),
        candidates_(std::move(candidates_K)),
        streams_(streams),
        errors_(candidates_.size(), 0.0) {
    mx::eval(rows_KN_);
  }

  void add(const PlannedWeight& weight) {
    const mx::array& source = weight.sources[0];
    const int rows = source.shape(0);
    const int columns = source.shape(1);
    const int piece = static_cast<int>(std::clamp<int64_t>(kPieceValues / columns, 1, rows));
    // Sums over the weight's outputs, for each kept row.
    auto outputs_N = mx::zeros({rows_KN_.shape(1)});
    std::vector<mx::array> errors_N(candidates_.size(), outputs_N);
    for (int begin = 0; begin < rows; begin += piece) {
      const int end = std::min(begin + piece, rows);
      auto w = mx::astype(mx::slice(source, {begin, 0}, {end, columns}), mx::float32);
      outputs_N = mx::add(outputs_N, mx::sum(mx::square(mx::matmul(w, rows_KN_)), 0));
      mx::eval({w, outputs_N});
      for (size_t i = 0; i < candidates_.size(); ++i) {
        const auto error = piece_error(weight, w, candidates_[i], streams_[i % streams_.size()]);
        errors_N[i] = mx::add(errors_N[i], error, streams_[i % streams_.size()]);
      }
      mx::eval(errors_N);
    }
    const auto energy_N = mx::maximum(outputs_N, mx::array(kSmallest * kSmallest));
    for (size_t i = 0; i < errors_.size(); ++i) {
      errors_[i] += mx::mean(mx::divide(errors_N[i], energy_N)).item<float>();
    }
    ++weights_;
  }

  // Means over weights and rows.
  std::vector<double> errors() const {
    auto means = errors_;
    for (auto& error : means) error /= weights_;
    return means;
  }

 private:
  mx::array piece_error(const PlannedWeight& weight, const mx::array& w, const mx::array& scale,
                        const mx::Stream& stream) const {
    const auto rounded =
        mx::divide(as_written(weight, mx::multiply(w, scale, stream), stream), scale, stream);
    const auto difference = mx::matmul(mx::subtract(rounded, w, stream), rows_KN_, stream);
    return mx::sum(mx::square(difference, stream), 0, false, stream);
  }

  mx::array rows_KN_;
  std::vector<mx::array> candidates_;
  const std::vector<mx::Stream>& streams_;
  std::vector<double> errors_;
  int weights_ = 0;
};

// Plans how far the range of each of the weight's groups is cut: the step whose rounded group is
// nearest, in what it adds to the outputs. Formats that are not affine have none to cut.
void plan_clips(PlannedWeight& weight, const Activations& rows_NK,
                const std::vector<mx::Stream>& streams) {
  const auto& [mode, group_size, bits] = weight.format;
  if (mode != "affine") return;
  const mx::array& source = weight.sources[0];
  const int rows = source.shape(0);
  const int columns = source.shape(1);
  const int groups = columns / group_size;
  auto x_NK = mx::astype(rows_NK, mx::float32);
  if (weight.column_factors) x_NK = mx::divide(x_NK, *weight.column_factors);
  const auto x_GNg = mx::transpose(mx::reshape(x_NK, {-1, groups, group_size}), {1, 0, 2});
  auto squares_Ggg = mx::matmul(mx::transpose(x_GNg, {0, 2, 1}), x_GNg);
  mx::eval(squares_Ggg);
  const int piece = static_cast<int>(std::clamp<int64_t>(kPieceValues / columns, 1, rows));
  std::vector<mx::array> steps;
  for (int begin = 0; begin < rows; begin += piece) {
    const int end = std::min(begin + piece, rows);
    auto w = mx::astype(mx::slice(source, {begin, 0}, {end, columns}), mx::float32);
    if (weight.column_factors) w = mx::multiply(w, *weight.column_factors);
    mx::eval(w);
    std::vector<mx::array> errors;
    for (int step = 0; step < kClipSteps; ++step) {
      const mx::Stream& stream = streams[static_cast<size_t>(step) % streams.size()];
      const auto at = mx::full({end - begin, groups}, step, mx::uint8, stream);
      const auto rounded = as_written(weight, clipped(w, at, group_size, stream), stream);
      const auto difference = mx::transpose(
          mx::reshape(mx::subtract(rounded, w, stream), {end - begin, groups, group_size}, stream),
          {1, 0, 2}, stream);
      const auto error_Gr =
          mx::sum(mx::multiply(mx::matmul(difference, squares_Ggg, stream), difference, stream), -1,
                  false, stream);
      errors.push_back(error_Gr);
    }
    mx::eval(errors);
    auto best = mx::astype(mx::transpose(mx::argmin(mx::stack(errors, 0), 0)), mx::uint8);
    best = mx::contiguous(best);
    mx::eval(best);
    steps.push_back(best);
  }
  auto all = mx::concatenate(steps, 0);
  mx::eval(all);
  weight.clip_steps = all;
}

// mean^alpha over the root of its largest times its smallest value; the first is 1 everywhere.
std::vector<mx::array> candidates_of(const mx::array& mean_R) {
  std::vector<mx::array> candidates;
  const auto safe = mx::maximum(mean_R, mx::array(kSmallest));
  for (int i = 0; i <= kAlphaSteps; ++i) {
    const float alpha = static_cast<float>(i) / kAlphaSteps;
    const auto power = mx::power(safe, mx::array(alpha));
    const auto middle = mx::sqrt(mx::multiply(mx::max(power), mx::min(power)));
    candidates.push_back(mx::maximum(mx::divide(power, middle), mx::array(kSmallest)));
  }
  mx::eval(candidates);
  return candidates;
}

}  // namespace

void apply_scale(Plan& plan, const InputGroup& group, const mx::array& scale_R) {
  auto columns_R = scale_R;
  if (group.source == InputGroup::Source::kNorm) {
    columns_R = scale_norm(*find(plan, group.source_path + ".weight"), group.norm_offset, scale_R);
  } else {
    scale_rows(plan, group, scale_R);
  }
  auto columns_K = repeated(group, columns_R);
  mx::eval(columns_K);
  for (auto* product : products_of(plan, group)) {
    product->column_factors = multiplied(product->column_factors, columns_K);
  }
}

ScaleReport plan_scales(Plan& plan, const std::vector<InputGroup>& groups,
                        const std::map<std::string, Activations>& activations, Clips clips,
                        const std::function<void(int64_t, int64_t)>& step) {
  const auto streams = worker_streams();
  ScaleReport report;
  for (size_t i = 0; i < groups.size(); ++i) {
    const InputGroup& group = groups[i];
    const auto found = activations.find(group.products[0]);
    std::vector<PlannedWeight*> rounded;
    for (auto* product : products_of(plan, group)) {
      if (product->work == Work::kQuantize) rounded.push_back(product);
    }
    if (found != activations.end() && !rounded.empty()) {
      const auto mean_K = mx::mean(mx::abs(mx::astype(found->second, mx::float32)), 0);
      const auto scales_R = candidates_of(gathered(group, mean_K));
      std::vector<mx::array> scales_K;
      for (const auto& scale : scales_R) scales_K.push_back(repeated(group, scale));
      mx::eval(scales_K);
      Search search(found->second, std::move(scales_K), streams);
      for (const auto* product : rounded) search.add(*product);
      const auto errors = search.errors();
      const auto best = std::min_element(errors.begin(), errors.end());
      report.groups += 1;
      report.plain_error += errors[0];
      report.error += *best;
      if (best != errors.begin()) {
        report.scaled += 1;
        apply_scale(plan, group, scales_R[static_cast<size_t>(best - errors.begin())]);
      }
      for (auto* product : rounded) {
        if (clips == Clips::kSearched) plan_clips(*product, found->second, streams);
      }
    }
    step(static_cast<int64_t>(i) + 1, static_cast<int64_t>(groups.size()));
  }
  const double count = std::max(report.groups, 1);
  report.plain_error /= count;
  report.error /= count;
  return report;
}

}  // namespace fovea::convert

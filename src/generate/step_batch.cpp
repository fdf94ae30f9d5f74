#include "generate/step_batch.h"

#include "mlx/ops.h"

namespace fovea::generate {
namespace {

namespace mx = mlx::core;

mx::array joined(const std::vector<mx::array>& parts, int axis) {
  return parts.size() == 1 ? parts[0] : mx::concatenate(parts, axis);
}

// Tokens of answers, with one look at the table for all of them.
mx::array embeds_of(const models::Model& model, std::span<const StepRow> rows) {
  std::vector<mx::array> parts;
  std::vector<int32_t> generated;
  for (const auto& row : rows) {
    const Request& request = *row.request;
    if (row.prefill) {
      const auto& all = *request.inputs_embeds_LD;
      const int begin = row.begin - request.embeds_begin;
      parts.push_back(mx::slice(all, {begin, 0}, {begin + row.count, all.shape(1)}));
    } else {
      const auto first = request.generated.begin() + row.begin;
      generated.insert(generated.end(), first, first + row.count);
    }
  }
  if (!generated.empty()) parts.push_back(model.embed_tokens(generated));
  return joined(parts, 0);
}

mx::array positions_of(const models::Model& model, std::span<const StepRow> rows) {
  const int axes = model.info().position_axes;
  std::vector<mx::array> parts;
  std::vector<int> generated;
  for (const auto& row : rows) {
    const Request& request = *row.request;
    if (row.prefill) {
      parts.push_back(
          mx::slice(*request.position_ids_AL, {0, row.begin}, {axes, row.begin + row.count}));
      continue;
    }
    for (int i = 0; i < row.count; ++i) {
      generated.push_back(request.prompt_length() + row.begin + i + request.position_delta);
    }
  }
  if (!generated.empty()) {
    const auto count = static_cast<int>(generated.size());
    const auto row = mx::array(generated.data(), {1, count}, mx::int32);
    parts.push_back(axes == 1 ? row : mx::broadcast_to(row, {axes, count}));
  }
  return joined(parts, 1);
}

}  // namespace

StepBatch::StepBatch(const models::Model& model, std::span<const StepRow> rows)
    : has_prompts_(rows.front().prefill),
      batch_{embeds_of(model, rows), positions_of(model, rows), {}, {}} {
  spans_.reserve(rows.size());
  int begin = 0;
  for (const auto& row : rows) {
    auto& own = spans_.emplace_back();
    for (const auto& [first, count] : row.request->spans) {
      const bool inside = first >= row.begin && first < row.begin + row.count;
      if (row.prefill && inside) own.push_back({first - row.begin, count});
    }
    segments_.push_back({row.request->sequence, begin, row.count, !row.prefill, own});
    begin += row.count;
    if (row.wants_logits) wanted_.push_back(begin - 1);
  }
  batch_.segments = segments_;
  batch_.logits_rows = wanted_;
}

}  // namespace fovea::generate

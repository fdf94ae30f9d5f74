#include "convert/whole_prompts.h"

#include "kernels/views.h"
#include "mlx/ops.h"

namespace fovea::convert {
namespace {

using kernels::rows_of;

kernels::AttentionOptions options_of(const nn::AttentionSpec& spec) {
  kernels::AttentionOptions options{spec.scale, spec.window, spec.softcap};
  options.chunk = spec.chunk;
  options.sinks = spec.sinks;
  return options;
}

}  // namespace

mx::array WholePrompts::attend(int, const mx::array& q_THD, const mx::array& k_TKD,
                               const mx::array& v_TKD, std::span<const nn::Segment> segments,
                               const nn::AttentionSpec& spec) {
  std::vector<mx::array> outputs;
  for (const auto& segment : segments) {
    const auto rows = [&](const mx::array& x) {
      return rows_of(x, segment.begin, segment.begin + segment.count);
    };
    const auto keys = [&](const mx::array& x) {
      return mx::contiguous(mx::transpose(mx::astype(rows(x), spec.kv_dtype), {1, 0, 2}));
    };
    auto options = options_of(spec);
    for (const auto& [begin, count] : segment.spans) {
      options.spans.push_back({begin, begin + count});
    }
    outputs.push_back(kernels::causal_attention(rows(q_THD), keys(k_TKD), keys(v_TKD), 0, options));
  }
  return mx::concatenate(outputs, 0);
}

void WholePrompts::set_views(int sequence, std::vector<nn::MediaView> views) {
  views_[sequence] = std::move(views);
}

void WholePrompts::keep_states(int, int sequence, const mx::array& k_SKD, const mx::array& v_SKD,
                               const nn::AttentionSpec& spec) {
  states_[sequence].push_back({mx::astype(k_SKD, spec.kv_dtype), mx::astype(v_SKD, spec.kv_dtype)});
}

std::vector<nn::LookingRows> WholePrompts::looking_rows(
    std::span<const nn::Segment> segments) const {
  std::vector<nn::LookingRows> looking;
  for (const auto& segment : segments) {
    const auto found = views_.find(segment.sequence);
    if (found != views_.end()) nn::add_looking_rows(found->second, segment, 0, looking);
  }
  return looking;
}

mx::array WholePrompts::attend_across(int layer, const mx::array& q_UHD,
                                      std::span<const nn::LookingRows> looking,
                                      const nn::AttentionSpec& spec) {
  std::vector<mx::array> outputs;
  int begin = 0;
  for (const auto& rows : looking) {
    const States& states = states_.at(rows.sequence).at(static_cast<size_t>(layer));
    const auto seen = [&](const mx::array& x_SKD) {
      return rows_of(x_SKD, rows.states.begin, rows.states.begin + rows.states.count);
    };
    outputs.push_back(kernels::cross_attention(rows_of(q_UHD, begin, begin + rows.count),
                                               seen(states.k_SKD), seen(states.v_SKD),
                                               options_of(spec)));
    begin += rows.count;
  }
  return mx::concatenate(outputs, 0);
}

}  // namespace fovea::convert

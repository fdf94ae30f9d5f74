#include "nn/cross_attention.h"

#include <cmath>

#include "kernels/numerics.h"
#include "kernels/projection.h"
#include "kernels/views.h"
#include "mlx/ops.h"

namespace fovea::nn {
namespace {

int row_count(std::span<const LookingRows> looking) {
  int count = 0;
  for (const auto& rows : looking) count += rows.count;
  return count;
}

}  // namespace

CrossAttention::CrossAttention(const AttentionConfig& c)
    : config_(c),
      q_proj_(c.hidden_size, c.num_attention_heads * c.head_dim, c.qkv_bias),
      k_proj_(c.hidden_size, c.num_key_value_heads * c.head_dim, c.k_bias.value_or(c.qkv_bias)),
      v_proj_(c.hidden_size, c.num_key_value_heads * c.head_dim, c.qkv_bias),
      o_proj_(c.num_attention_heads * c.head_dim, c.hidden_size, c.o_bias) {
  if (!c.qk_norm) return;
  q_norm_.emplace(c.head_dim, c.norm_eps, c.norm_offset);
  k_norm_.emplace(c.head_dim, c.norm_eps, c.norm_offset);
}

AttentionSpec CrossAttention::spec() const {
  AttentionSpec spec;
  spec.scale =
      config_.scale > 0 ? config_.scale : 1.0f / std::sqrt(static_cast<float>(config_.head_dim));
  spec.softcap = config_.softcap;
  spec.kv_dtype = kv_dtype_for(k_proj_.dtype());
  return spec;
}

void CrossAttention::keep(const mx::array& states_SD, int layer, int sequence,
                          KvCache& cache) const {
  const auto heads = [&](const mx::array& x) {
    return kernels::reshaped(x, {x.shape(0), config_.num_key_value_heads, config_.head_dim});
  };
  const auto k_SKD = heads(k_proj_(states_SD));
  cache.keep_states(layer, sequence, k_norm_ ? (*k_norm_)(k_SKD) : k_SKD, heads(v_proj_(states_SD)),
                    spec());
}

mx::array CrossAttention::operator()(const mx::array& x_UD, const RmsNorm& norm, int layer,
                                     KvCache& cache, std::span<const LookingRows> looking) const {
  return look(kernels::products(x_UD, norm.row_norm(), {q_proj_.weight()})[0], layer, cache,
              looking);
}

mx::array CrossAttention::operator()(const mx::array& normed_UD, int layer, KvCache& cache,
                                     std::span<const LookingRows> looking) const {
  return look(q_proj_(normed_UD), layer, cache, looking);
}

mx::array CrossAttention::look(const mx::array& q_UD, int layer, KvCache& cache,
                               std::span<const LookingRows> looking) const {
  const int u = q_UD.shape(0);
  const auto q_UHD = kernels::reshaped(q_UD, {u, config_.num_attention_heads, config_.head_dim});
  const auto out_UHD =
      cache.attend_across(layer, q_norm_ ? (*q_norm_)(q_UHD) : q_UHD, looking, spec());
  return o_proj_(kernels::reshaped(out_UHD, {u, o_proj_.in_size()}));
}

void CrossAttention::visit(Visitor& visitor) {
  visitor.child("q_proj", q_proj_);
  visitor.child("k_proj", k_proj_);
  visitor.child("v_proj", v_proj_);
  visitor.child("o_proj", o_proj_);
  if (!q_norm_) return;
  visitor.child("q_norm", *q_norm_);
  visitor.child("k_norm", *k_norm_);
}

mx::array rows_that_look(const mx::array& x_TD, std::span<const LookingRows> looking) {
  if (row_count(looking) == x_TD.shape(0)) return x_TD;
  std::vector<mx::array> parts;
  for (const auto& rows : looking) {
    parts.push_back(kernels::rows_of(x_TD, rows.begin, rows.begin + rows.count));
  }
  return kernels::joined_rows(parts);
}

mx::array with_rows_that_look(const mx::array& x_TD, const mx::array& changed_UD,
                              std::span<const LookingRows> looking) {
  if (changed_UD.shape(0) == x_TD.shape(0)) return changed_UD;
  std::vector<mx::array> parts;
  int at = 0;     // in x_TD
  int taken = 0;  // of changed_UD
  const auto others_until = [&](int end) {
    if (end > at) parts.push_back(kernels::rows_of(x_TD, at, end));
  };
  for (const auto& rows : looking) {
    others_until(rows.begin);
    parts.push_back(kernels::rows_of(changed_UD, taken, taken + rows.count));
    taken += rows.count;
    at = rows.begin + rows.count;
  }
  others_until(x_TD.shape(0));
  return kernels::joined_rows(parts);
}

int first_decode_row(std::span<const LookingRows> looking) {
  int row = 0;
  for (const auto& rows : looking) {
    if (rows.decode) break;
    row += rows.count;
  }
  return row;
}

}  // namespace fovea::nn

#include "nn/moe.h"

#include <algorithm>
#include <numeric>

#include "base/format.h"
#include "kernels/matmul.h"
#include "kernels/numerics.h"
#include "mlx/ops.h"
#include "mlx/transforms.h"
#include "nn/weights.h"

namespace fovea::nn {

SparseMoe::SparseMoe(int dim, const MoeConfig& c)
    : config_(c),
      gate_(dim, c.num_experts, Linear::Bias::kNone),
      gate_proj_(c.num_experts, dim, c.moe_intermediate_size),
      up_proj_(c.num_experts, dim, c.moe_intermediate_size),
      down_proj_(c.num_experts, c.moe_intermediate_size, dim) {}

void SparseMoe::unpack(Weights& weights, const std::string& path, int dim, const MoeConfig& c) {
  const std::string from = path + ".experts.";
  const auto parameter = [&](const std::string& name) {
    return path + ".switch_mlp." + name + ".weight";
  };
  for (const std::string name : {"gate_proj", "up_proj", "down_proj"}) {
    weights.join_stack(parameter(name), c.num_experts, [&](int expert) {
      return fmt::format("{}{}.{}.weight", from, expert, name);
    });
  }
  const int width = c.moe_intermediate_size;
  // One of the two is not square and tells which way round both are.
  const bool in_rows =
      2 * width != dim
          ? weights.shape_of(from + "gate_up_proj") == mx::Shape{c.num_experts, 2 * width, dim}
          : weights.shape_of(from + "down_proj") == mx::Shape{c.num_experts, dim, width};
  const auto rows = [=](const mx::array& matrix) {
    return in_rows ? matrix : mx::transpose(matrix);
  };
  const auto half = [=](int which) {
    return [=](const mx::array& matrix) {
      const auto both = rows(matrix);
      const int middle = both.shape(0) / 2;
      return mx::slice(both, {which * middle, 0}, {(which + 1) * middle, both.shape(1)});
    };
  };
  weights.split_stack(from + "gate_up_proj",
                      {{parameter("gate_proj"), half(0)}, {parameter("up_proj"), half(1)}});
  weights.split_stack(from + "down_proj", {{parameter("down_proj"), rows}});
}

SparseMoe::Routes SparseMoe::routes_of(const mx::array& x_TD) const {
  const int t = x_TD.shape(0);
  const int e = config_.num_experts;
  const int k = config_.num_experts_per_tok;
  auto shares_TE = mx::contiguous(mx::softmax(gate_(x_TD), -1, true));
  mx::eval(shares_TE);
  const auto* all = shares_TE.data<float>();
  Routes routes;
  std::vector<int> order(static_cast<size_t>(e));
  for (int row = 0; row < t; ++row) {
    const float* share = all + int64_t{row} * e;
    std::iota(order.begin(), order.end(), 0);
    // Of equal shares the first expert's counts as larger.
    std::partial_sort(order.begin(), order.begin() + k, order.end(), [&](int a, int b) {
      return share[a] > share[b] || (share[a] == share[b] && a < b);
    });
    float sum = config_.norm_topk_prob ? 0.0f : 1.0f;
    for (int i = 0; i < k && config_.norm_topk_prob; ++i) sum += share[order[i]];
    for (int i = 0; i < k; ++i) {
      routes.experts.push_back(order[i]);
      routes.shares.push_back(share[order[i]] / sum);
    }
  }
  return routes;
}

mx::array SparseMoe::expert(int index, const mx::array& x_RD) const {
  const auto hidden = kernels::gated_linear(x_RD, gate_proj_.weight(index), up_proj_.weight(index),
                                            kernels::Activation::kSilu);
  return kernels::linear(hidden, down_proj_.weight(index));
}

mx::array SparseMoe::operator()(const mx::array& x_TD) const {
  const int t = x_TD.shape(0);
  const int k = config_.num_experts_per_tok;
  const int first_decode = kernels::first_decode_row(t);
  const Routes routes = routes_of(x_TD);
  std::vector<std::vector<int>> choices(static_cast<size_t>(config_.num_experts));
  for (int choice = 0; choice < t * k; ++choice) {
    choices[static_cast<size_t>(routes.experts[static_cast<size_t>(choice)])].push_back(choice);
  }
  // Results stand expert after expert; `places` has where a row's choice is among them.
  std::vector<mx::array> results;
  std::vector<int> places(static_cast<size_t>(t) * k);
  int done = 0;
  for (int e = 0; e < config_.num_experts; ++e) {
    const auto& mine = choices[static_cast<size_t>(e)];
    if (mine.empty()) continue;
    std::vector<int> rows;
    for (const int choice : mine) {
      rows.push_back(choice / k);
      places[static_cast<size_t>(choice)] = done++;
    }
    const auto decode = std::lower_bound(rows.begin(), rows.end(), first_decode) - rows.begin();
    const kernels::DecodeRows answers(static_cast<int>(decode));
    const mx::array ids(rows.data(), {static_cast<int>(rows.size())}, mx::int32);
    results.push_back(expert(e, mx::take(x_TD, ids, 0)));
    if (down_proj_.is_turned()) mx::eval(results.back());  // or all copies would be there at once
  }
  const auto all =
      mx::take(mx::concatenate(results, 0), mx::array(places.data(), {t * k}, mx::int32), 0);
  const auto weighted = mx::multiply(mx::reshape(all, {t, k, x_TD.shape(1)}),
                                     mx::array(routes.shares.data(), {t, k, 1}, mx::float32));
  auto sum_TD = mx::zeros_like(x_TD);  // in the order of the choices, whatever the rows
  for (const auto& choice : mx::split(weighted, k, 1)) {
    sum_TD = mx::add(sum_TD, mx::reshape(choice, x_TD.shape()));
  }
  return sum_TD;
}

void SparseMoe::visit(Visitor& visitor) {
  visitor.child("gate", gate_);
  visitor.child("switch_mlp.gate_proj", gate_proj_);
  visitor.child("switch_mlp.up_proj", up_proj_);
  visitor.child("switch_mlp.down_proj", down_proj_);
}

}  // namespace fovea::nn

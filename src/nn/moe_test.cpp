#include "nn/moe.h"

#include <gtest/gtest.h>

#include <cstring>
#include <map>
#include <optional>

#include "kernels/numerics.h"
#include "kernels/op.h"
#include "mlx/ops.h"
#include "mlx/random.h"
#include "mlx/transforms.h"

namespace fovea::nn {
namespace {

constexpr int kDim = 24;
constexpr MoeConfig kConfig = {
    .num_experts = 5, .num_experts_per_tok = 2, .moe_intermediate_size = 16};

// Fills every parameter with random numbers and keeps them by name.
class Filling : public PathVisitor {
 public:
  void parameter(const std::string& name, mx::array& value) override {
    value = mx::multiply(mx::random::normal(value.shape()), mx::array(0.3f));
    mx::eval(value);
    filled.emplace(full_name(name), value);
  }
  std::map<std::string, mx::array> filled;
};

std::vector<float> floats_of(mx::array a) {
  a = mx::contiguous(a);
  mx::eval(a);
  return {a.data<float>(), a.data<float>() + a.size()};
}

struct Made {
  SparseMoe moe{kDim, kConfig};
  Filling weights;
  Made() {
    mx::random::seed(7);
    moe.visit(weights);
  }
  const mx::array& at(const std::string& name) { return weights.filled.at(name); }
};

mx::array rows(int count) { return mx::random::normal({count, kDim}); }

// Every expert over every row, weighted by the shares of the two best and nothing of the others.
mx::array dense(Made& made, const mx::array& x) {
  const auto shares = mx::softmax(mx::matmul(x, mx::transpose(made.at("gate.weight"))), -1);
  const auto second = mx::slice(mx::sort(shares, -1), {0, 3}, {x.shape(0), 4});
  const auto kept = mx::where(mx::greater_equal(shares, second), shares, mx::array(0.0f));
  const auto weights = mx::divide(kept, mx::sum(kept, -1, true));
  auto sum = mx::zeros_like(x);
  for (int e = 0; e < kConfig.num_experts; ++e) {
    const auto product = [&](const mx::array& in, const char* name) {
      const auto& stack = made.at(std::string("switch_mlp.") + name + ".weight");
      return mx::matmul(in, mx::transpose(mx::take(stack, e, 0)));
    };
    const auto gate = product(x, "gate_proj");
    const auto inner = mx::multiply(mx::multiply(gate, mx::sigmoid(gate)), product(x, "up_proj"));
    const auto share = mx::slice(weights, {0, e}, {x.shape(0), e + 1});
    sum = mx::add(sum, mx::multiply(product(inner, "down_proj"), share));
  }
  return sum;
}

TEST(SparseMoe, IsTheBestExpertsByTheirShares) {
  Made made;
  const auto x = rows(9);
  EXPECT_TRUE(mx::allclose(made.moe(x), dense(made, x), 1e-5, 1e-5).item<bool>());
}

TEST(SparseMoe, ARowsBitsDoNotDependOnItsCompany) {
  Made made;
  const auto x = rows(9);
  const auto together = floats_of(made.moe(x));
  for (int row = 0; row < 9; ++row) {
    const auto alone = floats_of(made.moe(mx::slice(x, {row, 0}, {row + 1, kDim})));
    EXPECT_EQ(std::memcmp(alone.data(), together.data() + row * kDim, kDim * sizeof(float)), 0)
        << row;
  }
}

TEST(SparseMoe, ComputesAtOnceWithTheSameBits) {
  Made made;
  const RmsNorm norm(kDim, 1e-6f, 1);
  const auto x = rows(5);
  for (const auto& residual : {std::optional<mx::array>(), std::optional(rows(5))}) {
    const auto block = [&](const mx::array& in) {
      const kernels::DecodeRows answers(0);
      return made.moe(mx::multiply(in, mx::array(2.0f)), norm, residual);
    };
    const auto expected = floats_of(block(x));
    const kernels::AtOnce scope;
    EXPECT_EQ(floats_of(block(x)), expected);
  }
}

}  // namespace
}  // namespace fovea::nn

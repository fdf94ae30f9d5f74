#include "kernels/projection.h"

#include <algorithm>
#include <utility>

#include "base/error.h"
#include "kernels/decode_products.h"
#include "kernels/numerics.h"
#include "kernels/op.h"
#include "kernels/views.h"
#include "kernels/weight_slots.h"
#include "mlx/ops.h"

namespace fovea::kernels {
namespace {

// Whether one node does it: where all rows are decode rows. Prompts need room for what stands
// between the ops, and their nodes cost little beside the work.
bool is_one_node(const mx::array& x, const std::vector<Weight>& weights) {
  const int rows = row_count(x);
  return rows > 0 && first_decode_row(rows) == 0 &&
         std::all_of(weights.begin(), weights.end(),
                     [](const Weight& w) { return has_decode_rows(w.quantization); });
}

mx::array normed(const mx::array& x, const std::optional<RowNorm>& norm) {
  return norm ? rms_norm(x, norm->weight, norm->eps, norm->weight_offset) : x;
}

// Where the inputs of a node stand: x, the norm's weight, the weights.
struct Projection {
  int rows = 0;
  int k = 0;
  bool has_norm = false;
  float eps = 0;
  float weight_offset = 0;
  std::vector<WeightSlots> weights;

  Projection(const mx::array& x, const std::optional<RowNorm>& norm,
             const std::vector<Weight>& factors, Arrays& inputs)
      : rows(row_count(x)), k(x.shape(-1)), has_norm(norm.has_value()) {
    inputs.push_back(as_float32(x));
    if (norm) {
      eps = norm->eps;
      weight_offset = norm->weight_offset;
      inputs.push_back(checked_norm_weight(x, norm->weight));
    }
    for (const auto& factor : factors) weights.push_back(append_weight(factor, inputs));
  }

  mx::array normed_input(const Arrays& in) const {
    if (!has_norm) return in[0];
    return normed(in[0], RowNorm{in[1], eps, weight_offset});
  }
};

// The inputs of a node that runs.
class Operands {
 public:
  Operands(const Projection& p, const Arrays& in) : p_(p), in_(in), x_(in[0]) {
    biases_.reserve(p.weights.size());
  }

  // The rows that the products share, in memory of the calling thread.
  const float* rows() const {
    if (!p_.has_norm) return x_.data();
    thread_local std::vector<float> memory;
    float* rows = kept(memory, static_cast<size_t>(p_.rows) * static_cast<size_t>(p_.k));
    const Floats weight(in_[1]);
    rms_norm_rows(x_.data(), p_.rows, p_.k, weight.data(), p_.weight_offset, p_.eps, rows);
    return rows;
  }

  DecodeWeight weight(size_t i, float* y) {
    const auto& slots = p_.weights[i];
    const float* bias = nullptr;
    if (slots.has_bias) bias = biases_.emplace_back(in_[slots.bias()]).data();
    return {slots.rows(in_), slots.n, bias, y};
  }

 private:
  const Projection& p_;
  const Arrays& in_;
  Floats x_;
  std::vector<Floats> biases_;
};

}  // namespace

std::vector<mx::array> products(const mx::array& x, const std::optional<RowNorm>& norm,
                                const std::vector<Weight>& weights) {
  if (!is_one_node(x, weights)) {
    const auto input = normed(x, norm);
    std::vector<mx::array> all;
    for (const auto& weight : weights) all.push_back(linear(input, weight));
    return all;
  }
  Arrays inputs;
  const Projection p(x, norm, weights, inputs);
  std::vector<mx::Shape> shapes;
  for (const auto& slots : p.weights) shapes.push_back(product_shape(x, slots));
  const auto run = [p](const Arrays& in, float* const* y) {
    Operands operands(p, in);
    std::vector<DecodeWeight> all;
    for (size_t i = 0; i < p.weights.size(); ++i) all.push_back(operands.weight(i, y[i]));
    decode_products(operands.rows(), p.rows, all);
  };
  const auto fallback = [p](const Arrays& in) {
    const auto input = p.normed_input(in);
    Arrays all;
    for (const auto& slots : p.weights) all.push_back(linear(input, weight_of(in, slots)));
    return all;
  };
  return make_multi_op({"fovea::products", std::move(shapes), run, fallback}, inputs);
}

mx::array gated_product(const mx::array& x, const std::optional<RowNorm>& norm, const Weight& gate,
                        const Weight& up, Activation activation) {
  // Without a norm gated_linear() is one node already.
  if (!norm || !is_one_node(x, {gate, up})) {
    return gated_linear(normed(x, norm), gate, up, activation);
  }
  Arrays inputs;
  const Projection p(x, norm, {gate, up}, inputs);
  mx::Shape shape = product_shape(x, p.weights[0]);
  if (product_shape(x, p.weights[1]) != shape) {
    fail(ErrorKind::kInvalidData, "[gated_product] expected weights of one shape but got {} and {}",
         shape_text(gate.values), shape_text(up.values));
  }
  const auto run = [p, activation](const Arrays& in, float* y) {
    Operands operands(p, in);
    const auto gating = operands.weight(0, nullptr);
    const auto gated = operands.weight(1, y);
    decode_gated(operands.rows(), p.rows, gating, gated, activation);
  };
  const auto fallback = [p, activation](const Arrays& in) {
    return gated_linear(p.normed_input(in), weight_of(in, p.weights[0]),
                        weight_of(in, p.weights[1]), activation);
  };
  return make_op({"fovea::gated_product", std::move(shape), run, fallback}, inputs);
}

}  // namespace fovea::kernels

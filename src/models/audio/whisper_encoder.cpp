#include "models/audio/whisper_encoder.h"

#include <cmath>

#include "base/error.h"
#include "kernels/matmul.h"
#include "mlx/ops.h"

namespace fovea::models::audio {
namespace {

constexpr int kKernel = 3;
constexpr float kEps = 1e-5f;

// sin and then cos of position / 10000^(i / (D / 2 - 1)).
mx::array sinusoids(int positions, int dim) {
  const int half = dim / 2;
  const double step = std::log(10000.0) / std::max(half - 1, 1);
  std::vector<float> values;
  for (int position = 0; position < positions; ++position) {
    for (const bool sine : {true, false}) {
      for (int i = 0; i < half; ++i) {
        const double angle = position * std::exp(-step * i);
        values.push_back(static_cast<float>(sine ? std::sin(angle) : std::cos(angle)));
      }
    }
    if (dim % 2 != 0) values.push_back(0);
  }
  return mx::array(values.data(), {positions, dim}, mx::float32);
}

}  // namespace

RowConvolution::RowConvolution(int in, int out, int stride)
    : stride_(stride), weight_(mx::zeros({out, kKernel * in})), bias_(mx::zeros({out})) {}

mx::array RowConvolution::operator()(const mx::array& x_TM) const {
  const int t = x_TM.shape(0);
  const int m = x_TM.shape(1);
  const auto padded = mx::pad(x_TM, {{1, 1}, {0, 0}});
  const int count = (t - 1) / stride_ + 1;
  std::vector<mx::array> neighbours;
  for (int i = 0; i < kKernel; ++i) {
    neighbours.push_back(
        mx::slice(padded, {i, 0}, {i + (count - 1) * stride_ + 1, m}, {stride_, 1}));
  }
  // As the weight's rows are: the neighbours of an input together.
  const auto rows = mx::reshape(mx::stack(neighbours, 2), {count, kKernel * m});
  return kernels::linear(rows, {.values = weight_, .bias = bias_},
                         {.activation = kernels::activation_of(kernels::Gelu::kExact)});
}

void RowConvolution::visit(nn::Visitor& visitor) {
  visitor.parameter("weight", weight_);
  visitor.parameter("bias", bias_);
}

WhisperEncoder::WhisperEncoder(const WhisperConfig& config)
    : config_(config),
      conv1_(config.num_mel_bins, config.d_model, 1),
      conv2_(config.d_model, config.d_model, 2),
      positions_SD_(mx::zeros({config.max_source_positions, config.d_model})),
      layer_norm_(config.d_model, kEps) {
  for (int i = 0; i < config.encoder_layers; ++i) {
    layers_.emplace_back(config.d_model, config.encoder_ffn_dim, config.encoder_attention_heads,
                         kEps, kernels::Gelu::kExact, nn::Linear::Bias::kNone);
  }
}

void WhisperEncoder::settle_positions(bool checkpoint_has_them) {
  stored_positions_ = checkpoint_has_them;
  if (!stored_positions_) positions_SD_ = sinusoids(config_.max_source_positions, config_.d_model);
}

mx::array WhisperEncoder::encode(const HostTensor& rows) const {
  const std::vector<int> expected = {2 * config_.max_source_positions, config_.num_mel_bins};
  if (rows.shape != expected) {
    fail(ErrorKind::kInvalidData, "[whisper] expected features of {} rows of {} mels but got {}",
         expected[0], expected[1], fmt::join(rows.shape, " x "));
  }
  const mx::array x_TM(rows.data.data(), {expected[0], expected[1]}, mx::float32);
  auto x_SD = mx::add(conv2_(conv1_(x_TM)), mx::astype(positions_SD_, mx::float32));
  const std::vector<int> all = {0, x_SD.shape(0)};
  for (const auto& layer : layers_) x_SD = layer(x_SD, all);
  return layer_norm_(x_SD);
}

void WhisperEncoder::visit(nn::Visitor& visitor) {
  visitor.child("conv1", conv1_);
  visitor.child("conv2", conv2_);
  if (stored_positions_) visitor.parameter("embed_positions.weight", positions_SD_);
  for (size_t i = 0; i < layers_.size(); ++i) {
    visitor.child(fmt::format("layers.{}", i), layers_[i]);
  }
  visitor.child("layer_norm", layer_norm_);
}

}  // namespace fovea::models::audio

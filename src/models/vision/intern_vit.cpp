#include "models/vision/intern_vit.h"

#include "base/error.h"
#include "mlx/ops.h"
#include "models/vision/patches.h"
#include "models/vision/tower_sizes.h"
#include "nn/positive.h"

namespace fovea::models::vision {
namespace {

using Bias = nn::Linear::Bias;

nn::Norm::Kind norm_type(const Json& config) {
  const std::string name = config.get_string("norm_type", "rms_norm");
  if (name == "layer_norm") return nn::Norm::Kind::kLayer;
  if (name == "rms_norm") return nn::Norm::Kind::kRms;
  fail(ErrorKind::kUnsupported, "[{}] expected layer_norm or rms_norm at '{}' but got '{}'",
       config.where(), config["norm_type"].path(), name);
}

int patches_per_side(const InternVitConfig& c) { return c.image_size / c.patch_size; }

}  // namespace

InternVitConfig read_intern_vit_config(const Json& config) {
  InternVitConfig c;
  read_tower_sizes(config, c);
  product_size(config, "queries, keys and values", {3, c.hidden_size});
  c.layer_norm_eps =
      static_cast<float>(nn::positive_number(config, "layer_norm_eps", c.layer_norm_eps));
  c.hidden_act = nn::gelu_from_config(config, "hidden_act", "gelu");
  c.norm_type = norm_type(config);
  c.qkv_bias = config.get_bool("qkv_bias", c.qkv_bias);
  c.qk_normalization = config.get_bool("qk_normalization", c.qk_normalization);
  return c;
}

class InternVit::Block : public nn::Module {
 public:
  explicit Block(const InternVitConfig& c)
      : heads_(c.num_attention_heads),
        norm1_(c.norm_type, c.hidden_size, c.layer_norm_eps),
        norm2_(c.norm_type, c.hidden_size, c.layer_norm_eps),
        qkv_(c.hidden_size, 3 * c.hidden_size, c.qkv_bias ? Bias::kPresent : Bias::kNone),
        proj_(c.hidden_size, c.hidden_size, Bias::kPresent),
        mlp_(c.hidden_size, c.intermediate_size, c.hidden_size, c.hidden_act),
        ls1_(mx::zeros({c.hidden_size})),
        ls2_(mx::zeros({c.hidden_size})) {
    if (!c.qk_normalization) return;
    q_norm_.emplace(c.hidden_size, c.layer_norm_eps);
    k_norm_.emplace(c.hidden_size, c.layer_norm_eps);
  }

  mx::array operator()(const mx::array& x_PD, const std::vector<int>& cu_seqlens) const {
    const auto qkv = mx::split(qkv_(norm1_(x_PD)), 3, 1);
    const auto q = q_norm_ ? (*q_norm_)(qkv[0]) : qkv[0];
    const auto k = k_norm_ ? (*k_norm_)(qkv[1]) : qkv[1];
    const auto mixed =
        proj_(attend_within(q, k, qkv[2], heads_, nullptr, cu_seqlens, qkv_.dtype()));
    const auto h_PD = mx::add(x_PD, scaled(mixed, ls1_));
    return mx::add(h_PD, scaled(mlp_(norm2_(h_PD)), ls2_));
  }

  void visit(nn::Visitor& visitor) override {
    visitor.child("norm1", norm1_);
    visitor.child("norm2", norm2_);
    visitor.child("attn.qkv", qkv_);
    visitor.child("attn.proj", proj_);
    if (q_norm_) visitor.child("attn.q_norm", *q_norm_);
    if (k_norm_) visitor.child("attn.k_norm", *k_norm_);
    visitor.child("mlp", mlp_);
    visitor.parameter("ls1", ls1_);
    visitor.parameter("ls2", ls2_);
  }

 private:
  static mx::array scaled(const mx::array& x, const mx::array& scale) {
    return mx::multiply(x, mx::astype(scale, mx::float32));
  }

  int heads_;
  nn::Norm norm1_;
  nn::Norm norm2_;
  nn::Linear qkv_;
  nn::Linear proj_;
  std::optional<nn::RmsNorm> q_norm_;  // over the whole width
  std::optional<nn::RmsNorm> k_norm_;
  nn::GeluMlp mlp_;
  mx::array ls1_;
  mx::array ls2_;
};

InternVit::InternVit(const InternVitConfig& c)
    : config_(c),
      class_embedding_(mx::zeros({1, 1, c.hidden_size})),
      position_embedding_(
          mx::zeros({1, patches_per_side(c) * patches_per_side(c) + 1, c.hidden_size})),
      patch_embedding_(c.num_channels * c.patch_size * c.patch_size, c.hidden_size,
                       Bias::kPresent) {
  for (int i = 0; i < c.num_hidden_layers; ++i) layers_.emplace_back(c);
}

InternVit::~InternVit() = default;

mx::array InternVit::forward(const HostTensor& pixels, int layer) const {
  const int b = pixels.shape.empty() ? 1 : pixels.shape[0];
  const std::vector<int> expected = {b, config_.num_channels, config_.image_size,
                                     config_.image_size};
  if (pixels.shape != expected || b < 1) {
    fail(ErrorKind::kInvalidData, "[vision] expected pixels {} but got {}", expected, pixels.shape);
  }
  return in_passes(pixels, rows_per_picture(), [&](const HostTensor& some) {
    return std::vector<mx::array>{forward_pass(some, layer)};
  })[0];
}

mx::array InternVit::forward_pass(const HostTensor& pixels, int layer) const {
  const int b = pixels.shape[0];
  const int d = config_.hidden_size;
  const auto patches =
      patch_embedding_(unfold_patches(pixels, config_.image_size, config_.patch_size));
  const auto first = mx::broadcast_to(mx::astype(class_embedding_, mx::float32), {b, 1, d});
  const auto rows = mx::concatenate({first, mx::reshape(patches, {b, -1, d})}, 1);
  auto x_PD = mx::reshape(mx::add(rows, mx::astype(position_embedding_, mx::float32)),
                          {b * rows_per_picture(), d});
  std::vector<int> cu_seqlens;
  for (int i = 0; i <= b; ++i) cu_seqlens.push_back(i * rows_per_picture());
  for (int i = 0; i < layer; ++i) x_PD = layers_[static_cast<size_t>(i)](x_PD, cu_seqlens);
  return x_PD;
}

void InternVit::visit(nn::Visitor& visitor) {
  visitor.parameter("embeddings.class_embedding", class_embedding_);
  visitor.parameter("embeddings.position_embedding", position_embedding_);
  visitor.child("embeddings.patch_embedding", patch_embedding_);
  for (size_t i = 0; i < layers_.size(); ++i) {
    visitor.child(fmt::format("encoder.layers.{}", i), layers_[i]);
  }
}

}  // namespace fovea::models::vision

#include "cli/synth/weights.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "cli/synth/random.h"
#include "models/names.h"
#include "nn/linear.h"

namespace fovea::cli {
namespace {

namespace mx = mlx::core;
using Fill = PlannedTensor::Fill;

constexpr float kSmall = 0.02f;  // deviation of norms about 1, and of biases about 0

std::string format_dtype(const std::string& dtype) {
  static const std::map<std::string, std::string> kNames = {
      {"bfloat16", "BF16"}, {"float16", "F16"}, {"float32", "F32"}};
  return kNames.at(dtype);
}

// A patch embedding's rows as the convolution that checkpoints hold: [out, (t,) p, p, channels].
std::vector<int64_t> conv_shape(const std::vector<int64_t>& rows, const Json& vision) {
  const int64_t p = vision.get_int("patch_size", 0);
  const int64_t channels =
      vision.get_int("num_channels", vision.get_int("in_channels", vision.get_int("in_chans", 3)));
  if (p < 1 || channels < 1 || rows[1] % (p * p * channels) != 0) return rows;
  const int64_t t = rows[1] / (p * p * channels);
  if (t == 1) return {rows[0], p, p, channels};
  return {rows[0], t, p, p, channels};
}

class Planner : public nn::PathVisitor {
 public:
  Planner(const Json& config, const SynthOptions& options) : config_(config), options_(options) {}

  void parameter(const std::string& name, mx::array& value) override {
    PlannedTensor tensor;
    tensor.entry.name = full_name(name);
    tensor.stream = tensor.entry.name;
    tensor.entry.shape.assign(value.shape().begin(), value.shape().end());
    const bool words = value.dtype() == mx::uint32;
    tensor.entry.dtype = words ? "U32" : format_dtype(options_.dtype);
    auto& shape = tensor.entry.shape;
    if (words) {
      tensor.fill = Fill::kWords;
    } else if (name == "scales" || name == "biases") {
      tensor.fill = name == "scales" ? Fill::kScales : Fill::kBiases;
      tensor.deviation = fan_in(shape.back() * options_.affine->group_size);
      tensor.stream = full_name("");  // both of a weight
    } else if (shape.size() < 2) {
      tensor.fill = name.ends_with("weight") ? Fill::kNorm : Fill::kSpread;
      tensor.deviation = kSmall;
    } else {
      tensor.deviation = fan_in(shape.back());
      const bool patches = tensor.entry.name.find("patch_embed") != std::string::npos;
      if (patches && shape.size() == 2) shape = conv_shape(shape, config_["vision_config"]);
    }
    plan_.push_back(std::move(tensor));
  }

  void quantizable(nn::QuantizableWeight& weight) override {
    if (!options_.affine || models::is_multimodal(module_name())) return;
    if (weight.in_size() % options_.affine->group_size != 0) return;
    weight.set_quantization(*options_.affine, module_name());
  }

  std::vector<PlannedTensor> take() { return std::move(plan_); }

 private:
  static float fan_in(int64_t in) { return 1 / std::sqrt(static_cast<float>(in)); }

  const Json& config_;
  const SynthOptions& options_;
  std::vector<PlannedTensor> plan_;
};

// The value that codes of `bits` random bits have on average, and how far they spread.
float middle_code(int bits) { return static_cast<float>((1 << bits) - 1) / 2; }
float code_deviation(int bits) {
  const auto codes = static_cast<float>(1 << bits);
  return std::sqrt((codes * codes - 1) / 12);
}

// A scale for each group, a quarter about their middle so that a group's own one matters; a bias
// takes the mean away.
template <class Float>
void fill_groups(const PlannedTensor& tensor, int bits, RandomWords& words, std::span<Float> to) {
  const float middle = tensor.deviation / code_deviation(bits);
  for (Float& value : to) {
    const Float scale =
        static_cast<Float>(middle * (1 + 0.25f * words.between_minus_one_and_one()));
    const float bias = -middle_code(bits) * static_cast<float>(scale);
    value = tensor.fill == Fill::kScales ? scale : static_cast<Float>(bias);
  }
}

template <class Float>
void fill_values(const PlannedTensor& tensor, int bits, RandomWords& words, std::span<Float> to) {
  if (tensor.fill == Fill::kScales || tensor.fill == Fill::kBiases) {
    return fill_groups(tensor, bits, words, to);
  }
  const float centre = tensor.fill == Fill::kNorm ? 1 : 0;
  const float reach = tensor.deviation * std::sqrt(3.0f);  // of an even spread
  for (Float& value : to) {
    value = static_cast<Float>(centre + reach * words.between_minus_one_and_one());
  }
}

class Filler {
 public:
  Filler(const SynthOptions& options, nn::ShardedWriter& writer)
      : options_(options), writer_(writer) {}

  void write(const PlannedTensor& tensor) {
    if (tensor.fill == Fill::kWords) {
      fill<uint64_t>(tensor, sizeof(uint32_t), [](auto& words, auto to) { words.fill(to); });
    } else if (options_.dtype == "float32") {
      fill_as<float>(tensor);
    } else if (options_.dtype == "float16") {
      fill_as<mx::float16_t>(tensor);
    } else {
      fill_as<mx::bfloat16_t>(tensor);
    }
  }

 private:
  template <class Float>
  void fill_as(const PlannedTensor& tensor) {
    const int bits = options_.affine ? options_.affine->bits : 0;
    fill<Float>(tensor, sizeof(Float),
                [&](auto& words, std::span<Float> to) { fill_values(tensor, bits, words, to); });
  }

  // Calls `some` on one buffer again and again until the tensor is written.
  template <class Value, class Some>
  void fill(const PlannedTensor& tensor, size_t element_bytes, Some some) {
    constexpr size_t kBufferBytes = size_t{4} << 20;
    RandomWords words(options_.seed, tensor.stream);
    std::vector<Value> buffer;
    auto left = static_cast<size_t>(tensor.entry.values()) * element_bytes;
    while (left > 0) {
      const size_t bytes = std::min(left, kBufferBytes);
      buffer.resize((bytes + sizeof(Value) - 1) / sizeof(Value));
      some(words, std::span<Value>(buffer));
      writer_.append(std::as_bytes(std::span(buffer)).first(bytes));
      left -= bytes;
    }
  }

  const SynthOptions& options_;
  nn::ShardedWriter& writer_;
};

}  // namespace

std::vector<PlannedTensor> plan_weights(models::Model& model, const Json& config,
                                        const SynthOptions& options) {
  Planner planner(config, options);
  model.visit(planner);
  return planner.take();
}

nn::WrittenWeights write_weights(const std::filesystem::path& folder,
                                 const std::vector<PlannedTensor>& plan,
                                 const SynthOptions& options, int64_t shard_bytes_max) {
  std::vector<nn::TensorEntry> entries;
  for (const auto& tensor : plan) entries.push_back(tensor.entry);
  nn::ShardedWriter writer(folder, std::move(entries), shard_bytes_max);
  Filler filler(options, writer);
  for (const auto& tensor : plan) filler.write(tensor);
  return writer.close();
}

}  // namespace fovea::cli

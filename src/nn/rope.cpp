#include "nn/rope.h"

#include <cmath>
#include <numbers>
#include <numeric>

#include "base/error.h"
#include "mlx/ops.h"

namespace fovea::nn {
namespace {

// Llama 3: long wavelengths are stretched by `factor`, short ones stay, those between are blended.
float llama3_frequency(float frequency, const Json& scaling) {
  const double factor = scaling["factor"].as_double();
  const double low = scaling["low_freq_factor"].as_double();
  const double high = scaling["high_freq_factor"].as_double();
  const double context = scaling["original_max_position_embeddings"].as_double();
  const double wavelength = 2 * std::numbers::pi / frequency;
  if (wavelength < context / high) return frequency;
  if (wavelength > context / low) return static_cast<float>(frequency / factor);
  const double smooth = (context / wavelength - low) / (high - low);
  return static_cast<float>((1 - smooth) * frequency / factor + smooth * frequency);
}

void scale_frequencies(const Json& scaling, std::vector<float>& frequencies) {
  const std::string type = scaling.get_string("rope_type", scaling.get_string("type", "default"));
  if (type == "default" || type == "mrope") return;
  if (type == "linear") {
    const double factor = scaling["factor"].as_double();
    for (float& f : frequencies) f = static_cast<float>(f / factor);
  } else if (type == "llama3") {
    for (float& f : frequencies) f = llama3_frequency(f, scaling);
  } else {
    fail(ErrorKind::kUnsupported,
         "[{}] expected rope scaling default, linear, llama3 or mrope but got '{}'",
         scaling.where(), type);
  }
}

}  // namespace

RotaryEmbedding::RotaryEmbedding(const Json& config, int head_dim) {
  const Json parameters = config["rope_parameters"];
  const Json scaling = parameters.is_object() ? parameters : config["rope_scaling"];
  const double theta = parameters.get_double("rope_theta", config.get_double("rope_theta", 10000));
  const int rotated = static_cast<int>(head_dim * config.get_double("partial_rotary_factor", 1));
  for (int i = 0; i < rotated / 2; ++i) {
    inv_freq_.push_back(static_cast<float>(1 / std::pow(theta, 2.0 * i / rotated)));
  }
  if (scaling.is_object()) scale_frequencies(scaling, inv_freq_);
  if (!scaling.contains("mrope_section")) return;
  mrope_section_ = scaling["mrope_section"].as_int_list();
  const int sum = std::accumulate(mrope_section_.begin(), mrope_section_.end(), 0);
  if (mrope_section_.size() != 3 || sum != rotated / 2) {
    fail(ErrorKind::kInvalidData,
         "[{}] expected three numbers that add up to {} at 'mrope_section' but got {}",
         config.where(), rotated / 2, scaling["mrope_section"].dump());
  }
}

RopeTables RotaryEmbedding::tables(const mx::array& position_ids_AT) const {
  const int t = position_ids_AT.shape(1);
  const auto axis = [&](int a, int begin, int end) {
    const auto row = mx::slice(position_ids_AT, {a, 0}, {a + 1, t});
    const auto positions = mx::reshape(mx::astype(row, mx::float32), {t, 1});
    const mx::array part(inv_freq_.data() + begin, {1, end - begin}, mx::float32);
    return mx::multiply(positions, part);
  };
  if (mrope_section_.empty()) {
    const auto angles = axis(0, 0, static_cast<int>(inv_freq_.size()));
    return {mx::cos(angles), mx::sin(angles)};
  }
  std::vector<mx::array> parts;
  int begin = 0;
  for (int a = 0; a < 3; ++a) {
    const int end = begin + mrope_section_[static_cast<size_t>(a)];
    parts.push_back(axis(a, begin, end));
    begin = end;
  }
  const auto angles = mx::concatenate(parts, 1);
  return {mx::cos(angles), mx::sin(angles)};
}

}  // namespace fovea::nn

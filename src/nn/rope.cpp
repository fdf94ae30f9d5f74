#include "nn/rope.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <numbers>
#include <numeric>

#include "base/error.h"
#include "mlx/ops.h"
#include "nn/positive.h"

namespace fovea::nn {
namespace {

// A number that a scaling cannot do without.
double required(const Json& scaling, const std::string& key) {
  scaling[key].as_double();
  return positive_number(scaling, key, 0);
}

// Llama 3: long wavelengths are stretched by `factor`, short ones stay, those between are blended.
void scale_as_llama3(const Json& scaling, std::vector<float>& frequencies) {
  const double factor = required(scaling, "factor");
  const double low = required(scaling, "low_freq_factor");
  const double high = required(scaling, "high_freq_factor");
  const double context = required(scaling, "original_max_position_embeddings");
  if (low >= high) {
    fail(ErrorKind::kInvalidData, "[{}] expected '{}' above {} but got {}", scaling.where(),
         scaling["high_freq_factor"].path(), low, high);
  }
  for (float& frequency : frequencies) {
    const double wavelength = 2 * std::numbers::pi / frequency;
    if (wavelength < context / high) continue;
    const double smooth = std::max(0.0, (context / wavelength - low) / (high - low));
    frequency = static_cast<float>((1 - smooth) * frequency / factor + smooth * frequency);
  }
}

void scale_frequencies(const Json& scaling, std::vector<float>& frequencies) {
  const std::string type = scaling.get_string("rope_type", scaling.get_string("type", "default"));
  if (type == "default" || type == "mrope") return;
  if (type == "linear") {
    const double factor = required(scaling, "factor");
    for (float& f : frequencies) f = static_cast<float>(f / factor);
  } else if (type == "llama3") {
    scale_as_llama3(scaling, frequencies);
  } else {
    fail(ErrorKind::kUnsupported,
         "[{}] expected rope scaling default, linear, llama3 or mrope but got '{}'",
         scaling.where(), type);
  }
}

int rotated_size(const Json& config, int head_dim) {
  const double share = positive_number(config, "partial_rotary_factor", 1);
  const int rotated = share <= 1 ? static_cast<int>(head_dim * share) : 0;
  if (rotated < 2 || rotated % 2 != 0) {
    fail(ErrorKind::kInvalidData,
         "[{}] expected an even number of rotated values but got {} of heads of {}", config.where(),
         share, head_dim);
  }
  return rotated;
}

std::vector<int> read_sections(const Json& section, int frequencies) {
  auto sizes = section.as_int_list();
  bool fits = sizes.size() == 3;
  for (const int size : sizes) fits = fits && size > 0;
  if (!fits || std::accumulate(sizes.begin(), sizes.end(), int64_t{0}) != frequencies) {
    fail(ErrorKind::kInvalidData, "[{}] expected three sizes that add up to {} at '{}' but got {}",
         section.where(), frequencies, section.path(), section.dump());
  }
  return sizes;
}

}  // namespace

RotaryEmbedding::RotaryEmbedding(const Json& config, int head_dim, double standard_theta) {
  // rope_parameters is the newer name of rope_scaling and has rope_theta inside. Where a config has
  // both, Hugging Face scales by rope_scaling.
  const Json older = config.optional_object("rope_scaling");
  const Json newer = config.optional_object("rope_parameters");
  double theta = positive_number(config, "rope_theta", standard_theta);
  theta = positive_number(newer, "rope_theta", positive_number(older, "rope_theta", theta));
  const int rotated = rotated_size(config, head_dim);
  for (int i = 0; i < rotated / 2; ++i) {
    inv_freq_.push_back(static_cast<float>(1 / std::pow(theta, 2.0 * i / rotated)));
  }
  scale_frequencies(older.size() > 0 ? older : newer, inv_freq_);
  for (const Json& source : {newer, older}) {
    const Json section = source["mrope_section"];
    if (!section.is_null()) mrope_section_ = read_sections(section, rotated / 2);
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

#include "nn/rope.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
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

std::string scaling_type(const Json& scaling) {
  return scaling.get_string("rope_type", scaling.get_string("type", "default"));
}

// "su" is what the first checkpoints called it.
bool is_longrope(const std::string& type) { return type == "longrope" || type == "su"; }

// How much YaRN enlarges cosines and sines: what the config says, or the paper's 0.1 log(factor)
// + 1.
double yarn_stretch(const Json& scaling, double factor) {
  const auto grown = [&](const char* key) {
    const double share = scaling[key].is_null() ? 1 : scaling[key].as_double();
    return factor <= 1 ? 1 : 0.1 * share * std::log(factor) + 1;
  };
  const auto told = [&](const char* key) {
    return !scaling[key].is_null() && scaling[key].as_double() != 0;
  };
  const bool both = told("mscale") && told("mscale_all_dim");
  const double standard = both ? grown("mscale") / grown("mscale_all_dim") : grown("");
  return positive_number(scaling, "attention_factor", standard);
}

void scale_frequencies(const Json& scaling, std::vector<float>& frequencies) {
  const std::string type = scaling_type(scaling);
  // "dynamic" changes nothing within max_position_embeddings, and no prompt goes beyond.
  if (type == "default" || type == "mrope" || type == "dynamic") return;
  if (type == "linear") {
    const double factor = required(scaling, "factor");
    for (float& f : frequencies) f = static_cast<float>(f / factor);
  } else if (type == "llama3") {
    scale_as_llama3(scaling, frequencies);
  } else {
    fail(ErrorKind::kUnsupported,
         "[{}] expected rope scaling default, dynamic, linear, llama3, longrope, su, yarn or mrope "
         "but got '{}'",
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

// The axis that turns each frequency.
std::vector<int> axes_of(const std::vector<int>& sections, bool interleaved) {
  std::vector<int> axes;
  for (int axis = 0; axis < 3; ++axis) {
    axes.insert(axes.end(), static_cast<size_t>(sections[static_cast<size_t>(axis)]), axis);
  }
  for (size_t i = 0; interleaved && i < axes.size(); ++i) {
    const size_t axis = i % 3;
    axes[i] = i < size_t{3} * static_cast<size_t>(sections[axis]) ? static_cast<int>(axis) : 0;
  }
  return axes;
}

}  // namespace

RotaryEmbedding::RotaryEmbedding(const Json& config, int head_dim, double standard_theta,
                                 bool interleaved) {
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
  const Json scaling = older.size() > 0 ? older : newer;
  read_query_growth(scaling);
  if (is_longrope(scaling_type(scaling))) {
    read_longrope(config, scaling);
  } else if (scaling_type(scaling) == "yarn") {
    read_yarn(scaling, theta);
  } else {
    scale_frequencies(scaling, inv_freq_);
  }
  for (const Json& source : {newer, older}) {
    const Json section = source["mrope_section"];
    if (!section.is_null()) axis_of_ = axes_of(read_sections(section, rotated / 2), interleaved);
  }
}

int RotaryEmbedding::axes() const {
  if (depends_on_length()) return 2;
  return axis_of_.empty() ? 1 : 3;
}

void RotaryEmbedding::read_longrope(const Json& config, const Json& scaling) {
  const Json& at = scaling.contains("original_max_position_embeddings") ? scaling : config;
  const double original = required(at, "original_max_position_embeddings");
  if (original < 2 || original > std::numeric_limits<int>::max()) {
    fail(ErrorKind::kInvalidData, "[{}] expected a length from 2 at '{}' but got {}", at.where(),
         at["original_max_position_embeddings"].path(), original);
  }
  long_context_ = static_cast<int>(original);
  const double longest = positive_number(config, "max_position_embeddings", original);
  const double factor = positive_number(scaling, "factor", longest / original);
  const double standard = factor <= 1 ? 1 : std::sqrt(1 + std::log(factor) / std::log(original));
  stretch_ = static_cast<float>(positive_number(scaling, "attention_factor", standard));
  const auto divided = [&](const std::string& key) {
    const auto factors = scaling[key].as_float_list();
    std::vector<float> frequencies = inv_freq_;
    const bool fits = factors.size() == frequencies.size() &&
                      std::all_of(factors.begin(), factors.end(), [](float f) { return f > 0; });
    if (!fits) {
      fail(ErrorKind::kInvalidData, "[{}] expected {} numbers above 0 at '{}' but got {}",
           scaling.where(), frequencies.size(), scaling[key].path(), scaling[key].dump());
    }
    for (size_t i = 0; i < factors.size(); ++i) frequencies[i] /= factors[i];
    return frequencies;
  };
  long_freq_ = divided("long_factor");
  inv_freq_ = divided("short_factor");
}

// Frequencies that turn less than beta_slow times within the context are divided by the factor,
// those that turn more than beta_fast times stay, those between are blended by their place.
void RotaryEmbedding::read_yarn(const Json& scaling, double theta) {
  const double factor = required(scaling, "factor");
  const double context = required(scaling, "original_max_position_embeddings");
  const auto count = static_cast<double>(inv_freq_.size());
  const auto place = [&](const char* key, double standard) {
    const double turns = positive_number(scaling, key, standard);
    return count * std::log(context / (turns * 2 * std::numbers::pi)) / std::log(theta);
  };
  const bool whole = scaling.get_bool("truncate", true);
  const double fast = place("beta_fast", 32);
  const double slow = place("beta_slow", 1);
  const double first = std::max(whole ? std::floor(fast) : fast, 0.0);
  double last = std::min(whole ? std::ceil(slow) : slow, 2 * count - 1);
  if (last == first) last += 0.001;
  for (size_t i = 0; i < inv_freq_.size(); ++i) {
    const double slowed = std::clamp((static_cast<double>(i) - first) / (last - first), 0.0, 1.0);
    const double frequency = inv_freq_[i];
    inv_freq_[i] = static_cast<float>(frequency / factor * slowed + frequency * (1 - slowed));
  }
  stretch_ = static_cast<float>(yarn_stretch(scaling, factor));
}

void RotaryEmbedding::read_query_growth(const Json& scaling) {
  if (scaling["llama_4_scaling_beta"].is_null()) return;
  query_beta_ = static_cast<float>(required(scaling, "llama_4_scaling_beta"));
  query_context_ = static_cast<float>(required(scaling, "original_max_position_embeddings"));
}

mx::array RotaryEmbedding::query_growth(const mx::array& positions_AT) const {
  const auto first = mx::transpose(mx::take(positions_AT, mx::array({0}), 0));
  const auto contexts = mx::floor(mx::divide(first, mx::array(query_context_)));
  return mx::add(mx::multiply(mx::log1p(contexts), mx::array(query_beta_)), mx::array(1.0f));
}

RopeTables RotaryEmbedding::tables(const mx::array& position_ids_AT) const {
  const auto count = static_cast<int>(inv_freq_.size());
  const auto row_of = [&](const std::vector<float>& frequencies) {
    return mx::array(frequencies.data(), {1, count}, mx::float32);
  };
  const auto positions_AT = mx::astype(position_ids_AT, mx::float32);
  // [T, 1] of the one axis, or [T, R] of each frequency's.
  const auto axes = axis_of_.empty() ? mx::array({0}) : mx::array(axis_of_.data(), {count});
  const auto turning = mx::transpose(mx::take(positions_AT, axes, 0));
  if (depends_on_length()) {
    const auto last = mx::transpose(mx::take(position_ids_AT, mx::array({1}), 0));
    const auto chosen = mx::where(mx::greater_equal(last, mx::array(long_context_)),
                                  row_of(long_freq_), row_of(inv_freq_));
    const auto angles = mx::multiply(turning, chosen);
    return {mx::multiply(mx::cos(angles), mx::array(stretch_)),
            mx::multiply(mx::sin(angles), mx::array(stretch_))};
  }
  const auto angles = mx::multiply(turning, row_of(inv_freq_));
  RopeTables tables{mx::cos(angles), mx::sin(angles)};
  if (stretch_ != 1) {
    tables.cos_TR = mx::multiply(tables.cos_TR, mx::array(stretch_));
    tables.sin_TR = mx::multiply(tables.sin_TR, mx::array(stretch_));
  }
  if (query_beta_ > 0) {
    const auto growth_T1 = query_growth(positions_AT);
    tables.query_cos_TR = mx::multiply(tables.cos_TR, growth_T1);
    tables.query_sin_TR = mx::multiply(tables.sin_TR, growth_T1);
  }
  return tables;
}

}  // namespace fovea::nn

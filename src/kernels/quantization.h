// How a checkpoint's weight was quantised: groups of a row's values share a scale. Source of the
// formats beside the affine one: OCP Microscaling Formats 1.0, and MLX's layout of them. Affine 4
// and 8 bits are the tuned ones; rows of answers go through the products of prompts where the mode
// is another.
#pragma once

#include <optional>
#include <string_view>

namespace fovea::kernels {

enum class QuantizationMode {
  kAffine,  // whole numbers: value = q * scale + bias
  kMxfp4,   // values e2m1 (1 sign, 2 exponent, 1 fraction bit), scales powers of two (e8m0)
  kNvfp4,   // values e2m1, scales e4m3
  kMxfp8,   // values e4m3, scales powers of two
};

struct Quantization {
  int group_size = 64;
  int bits = 4;
  QuantizationMode mode = QuantizationMode::kAffine;

  bool operator==(const Quantization&) const = default;
  // Affine: 2, 3, 4, 5, 6 or 8 bits in groups of 32, 64 or 128. The others: standard() alone.
  bool is_supported() const;
  bool has_biases() const { return mode == QuantizationMode::kAffine; }
};

// "affine", "mxfp4", "nvfp4" or "mxfp8", as config.json has it; nullopt for another name.
std::optional<QuantizationMode> quantization_mode(std::string_view name);
const char* to_string(QuantizationMode mode);

// What holds where a checkpoint does not say.
Quantization standard_quantization(QuantizationMode mode);

}  // namespace fovea::kernels

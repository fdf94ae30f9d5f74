#include "kernels/quantization.h"

#include <array>

namespace fovea::kernels {
namespace {

struct Row {
  const char* name;
  Quantization standard;
};

constexpr std::array kModes = {
    Row{"affine", {64, 4, QuantizationMode::kAffine}},
    Row{"mxfp4", {32, 4, QuantizationMode::kMxfp4}},
    Row{"nvfp4", {16, 4, QuantizationMode::kNvfp4}},
    Row{"mxfp8", {32, 8, QuantizationMode::kMxfp8}},
};

const Row& row_of(QuantizationMode mode) { return kModes[static_cast<size_t>(mode)]; }

}  // namespace

bool Quantization::is_supported() const {
  if (mode != QuantizationMode::kAffine) return *this == standard_quantization(mode);
  return (bits == 2 || bits == 3 || bits == 4 || bits == 5 || bits == 6 || bits == 8) &&
         (group_size == 32 || group_size == 64 || group_size == 128);
}

std::optional<QuantizationMode> quantization_mode(std::string_view name) {
  for (const auto& row : kModes) {
    if (name == row.name) return row.standard.mode;
  }
  return std::nullopt;
}

const char* to_string(QuantizationMode mode) { return row_of(mode).name; }

Quantization standard_quantization(QuantizationMode mode) { return row_of(mode).standard; }

}  // namespace fovea::kernels

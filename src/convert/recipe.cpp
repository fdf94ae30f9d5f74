#include "convert/recipe.h"

#include <algorithm>
#include <array>
#include <charconv>

#include "base/error.h"
#include "models/names.h"

namespace fovea::convert {
namespace {

struct Mode {
  const char* name;
  int group_size;
  int bits;
};

constexpr std::array kModes = {Mode{"affine", 64, 4}, Mode{"mxfp4", 32, 4}, Mode{"nvfp4", 16, 4},
                               Mode{"mxfp8", 32, 8}};

struct Mixed {
  const char* name;
  int bits;
  int more_bits;
};

constexpr std::array kMixed = {Mixed{"mixed_2_6", 2, 6}, Mixed{"mixed_3_4", 3, 4},
                               Mixed{"mixed_3_5", 3, 5}, Mixed{"mixed_3_6", 3, 6},
                               Mixed{"mixed_3_8", 3, 8}, Mixed{"mixed_4_6", 4, 6},
                               Mixed{"mixed_4_8", 4, 8}};

template <class Row, size_t N>
std::vector<std::string> names_of(const std::array<Row, N>& rows) {
  std::vector<std::string> names;
  for (const auto& row : rows) names.emplace_back(row.name);
  return names;
}

template <class Row, size_t N>
const Row& row_of(const std::array<Row, N>& rows, const char* flag, const std::string& name) {
  const auto found =
      std::find_if(rows.begin(), rows.end(), [&](const Row& row) { return name == row.name; });
  if (found != rows.end()) return *found;
  fail(ErrorKind::kInvalidArgument, "[{}] expected one of {} but got '{}'", flag,
       fmt::join(names_of(rows), ", "), name);
}

// N of `...layers.N....`, or 0.
int layer_of(const std::string& path) {
  constexpr std::string_view kLayers = "layers.";
  const auto at = path.find(kLayers);
  int layer = 0;
  if (at != std::string::npos) {
    std::from_chars(path.data() + at + kLayers.size(), path.data() + path.size(), layer);
  }
  return layer;
}

bool has(const std::string& path, const char* part) { return path.find(part) != std::string::npos; }

bool gets_more(const std::string& path, int num_layers) {
  if (has(path, "lm_head") || has(path, "embed_tokens") || models::is_multimodal(path)) return true;
  if (!has(path, "v_proj") && !has(path, "down_proj")) return false;
  const int layer = layer_of(path);
  const int eighth = num_layers / 8;
  return layer < eighth || layer >= 7 * num_layers / 8 || (layer - eighth) % 3 == 2;
}

}  // namespace

std::vector<std::string> quant_modes() { return names_of(kModes); }

QuantFormat quant_format(const std::string& mode, std::optional<int> group_size,
                         std::optional<int> bits) {
  const Mode& row = row_of(kModes, "--q-mode", mode);
  QuantFormat format{mode, group_size.value_or(row.group_size), bits.value_or(row.bits)};
  if (mode != "affine" && (format.group_size != row.group_size || format.bits != row.bits)) {
    fail(ErrorKind::kInvalidArgument,
         "[--q-mode] expected {} with {} bits in groups of {} but got {} bits in groups of {}",
         mode, row.bits, row.group_size, format.bits, format.group_size);
  }
  return format;
}

std::vector<std::string> mixed_recipes() { return names_of(kMixed); }

Recipe mixed_recipe(const std::string& name) {
  const Mixed& row = row_of(kMixed, "--q-recipe", name);
  return {{"affine", 64, row.bits}, row.more_bits};
}

QuantFormat format_of(const Recipe& recipe, const std::string& path, int num_layers) {
  QuantFormat format = recipe.format;
  if (recipe.more_bits && gets_more(path, num_layers)) format.bits = *recipe.more_bits;
  return format;
}

}  // namespace fovea::convert

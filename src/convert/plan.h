// What a conversion will write, tensor by tensor, from a model whose weights are mapped. Nothing is
// read here. One thread.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "convert/recipe.h"
#include "models/model.h"
#include "nn/safetensors_writer.h"
#include "nn/weights.h"

namespace fovea::convert {

namespace mx = mlx::core;

enum class Towers { kKept, kQuantized };

struct WeightOptions {
  std::optional<mx::Dtype> dtype;  // of what is not quantised, and of scales; absent: as stored
  std::optional<Recipe> recipe;    // absent: nothing is quantised
  Towers towers = Towers::kKept;
  bool dequantize = false;
};

struct PlannedWeight {
  enum class Work { kCopy, kQuantize, kDequantize };
  Work work = Work::kCopy;
  std::string path;                // of the module; of the tensor where it is copied
  std::vector<mx::array> sources;  // the tensor, or weight, scales and biases
  // What sources[0] stacks, where that is not to be made: it may be larger than all memory.
  std::vector<mx::array> matrices = {};
  mx::Dtype dtype = mx::float32;  // that floats become
  QuantFormat format;             // of what is, or will be, quantised
  // float32, multiplied in before the work: of each column of the last axis, of each row of the
  // first.
  std::optional<mx::array> column_factors = {};
  std::optional<mx::array> row_factors = {};
  // uint8 [rows, groups], after the factors: see clipped().
  std::optional<mx::array> clip_steps = {};
  std::vector<nn::TensorEntry> entries;  // in the order in which they are written
  bool again = false;                    // under another name; an earlier one has the same sources
};

struct Plan {
  std::vector<PlannedWeight> weights;
  // Formats that differ from the recipe's, by what mlx-vlm calls the module.
  std::map<std::string, QuantFormat> overrides;
  int64_t values = 0;                   // parameters, a packed one counted as what it stands for
  std::vector<std::string> left_plain;  // no group of any size divides their rows

  bool tied_head_written = false;  // the table of embeddings, as the head too

  int64_t bytes_before() const;
  int64_t bytes_read() const;  // with what is read twice
  int64_t bytes_after() const;
  std::vector<nn::TensorEntry> entries() const;
};

// `weights` were loaded into `model`. Throws Error(kInvalidArgument) where quantised weights are to
// be quantised, plain ones to be dequantised, or a smaller group would fit.
Plan plan_conversion(models::Model& model, const nn::Weights& weights,
                     const WeightOptions& options);

}  // namespace fovea::convert

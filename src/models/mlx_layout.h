// Where mlx-vlm's class of a family differs from the modules here: what a converter must write so
// that mlx-vlm reads it. Values; any thread may use them.
#pragma once

#include <map>
#include <string>

#include "models/names.h"

namespace fovea::models {

struct MlxLayout {
  // Names of modules there, by their paths here.
  std::map<std::string, std::string> names = {};
  // Its name for a tensor that it needs and no module here reads, by the checkpoint's name; empty
  // for others.
  NameRule unread = {};
  // A head that is there even where the table of embeddings serves as one. It is filled with the
  // table's weight but not with its scales, so a quantised table must be written as the head too.
  std::string table = {};
  std::string second_head = {};  // its name there; empty in families that read one table twice
  // Path of a head that mlx-vlm's converter leaves unquantised, but in mixed recipes.
  std::string plain_head = {};
};

}  // namespace fovea::models

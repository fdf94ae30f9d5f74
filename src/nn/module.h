// A module lists its parameters once; loading, quantising, adapters, saving and counting all walk
// that one list. Engine thread only.
#pragma once

#include <string>

#include "mlx/array.h"

namespace fovea::nn {

namespace mx = mlx::core;

class Module;

class Visitor {
 public:
  virtual ~Visitor() = default;
  // `name` is relative to the module; a parameter's full name is the dotted path from the root.
  virtual void parameter(const std::string& name, mx::array& value) = 0;
  virtual void child(const std::string& name, Module& module) = 0;
};

class Module {
 public:
  virtual ~Module() = default;
  virtual void visit(Visitor& visitor) = 0;
};

}  // namespace fovea::nn

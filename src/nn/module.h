// A module lists its parameters once; loading, quantising, adapters, saving and counting all walk
// that one list. One thread at a time: the one that loads, then the engine's.
#pragma once

#include <string>

#include "mlx/array.h"

namespace fovea::nn {

namespace mx = mlx::core;

class Module;
class QuantizableWeight;

class Visitor {
 public:
  virtual ~Visitor() = default;
  // `name` is relative to the module; a parameter's full name is the dotted path from the root.
  // Before loading, `value` has the shape that the config asks for.
  virtual void parameter(const std::string& name, mx::array& value) = 0;
  virtual void child(const std::string& name, Module& module) = 0;
  // Before the parameters of a module whose weight may be quantised; they depend on what is set.
  virtual void quantizable(QuantizableWeight&) {}
};

class Module {
 public:
  virtual ~Module() = default;
  virtual void visit(Visitor& visitor) = 0;
};

// A visitor of the whole tree that knows where it stands.
class PathVisitor : public Visitor {
 public:
  void child(const std::string& name, Module& module) override {
    const std::string outer = path_;
    path_ += name + ".";
    module.visit(*this);
    path_ = outer;
  }

 protected:
  // The full name of a parameter of the module that is visited.
  std::string full_name(const std::string& name) const { return path_ + name; }
  // That module's own, empty at the root.
  std::string module_name() const { return path_.substr(0, path_.empty() ? 0 : path_.size() - 1); }

 private:
  std::string path_;  // with a dot behind it
};

}  // namespace fovea::nn

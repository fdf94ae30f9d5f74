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

// Walks a whole tree and calls `see` with the full name of every parameter.
template <typename See>
class TreeVisitor : public Visitor {
 public:
  explicit TreeVisitor(See see) : see_(std::move(see)) {}
  void parameter(const std::string& name, mx::array& value) override { see_(path_ + name, value); }
  void child(const std::string& name, Module& module) override {
    const std::string outer = path_;
    path_ += name + ".";
    module.visit(*this);
    path_ = outer;
  }

 private:
  See see_;
  std::string path_;
};

}  // namespace fovea::nn

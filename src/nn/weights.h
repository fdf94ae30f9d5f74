// A checkpoint's tensors, memory-mapped, and their way into modules. Headers are validated by the
// safetensors crate before any byte is used. For the thread that loads a model.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/file.h"
#include "core/checkpoint.h"
#include "kernels/matmul.h"
#include "mlx/array.h"
#include "nn/module.h"

namespace fovea::nn {

// What becomes of stacks of matrices that a checkpoint has turned (Weights::split_stack).
enum class Turned {
  kCopied,  // each matrix gets memory of its own in rows, as kernels read them
  kViewed,  // it stays a view of the file; a product copies what it needs: for who reads a stack
            // once, or not at all, and may have less memory than it takes
};

class Weights {
 public:
  // model.safetensors.index.json's shards when there is an index, else model.safetensors, else
  // every *.safetensors of the folder but consolidated.*. Throws fovea::Error for a missing,
  // hostile or misnamed file and for a quantisation that is not one of MLX's.
  static Weights open(const Checkpoint& checkpoint, Turned turned = Turned::kCopied);

  // Renames every tensor to its module path; an empty result puts it aside. The name in the
  // checkpoint is kept for messages.
  void rename(const std::function<std::string(const std::string&)>& rule);

  // Makes a stack `name` of the matrices that the checkpoint has one by one as `name_of(0)` to
  // `name_of(count - 1)`, which stay where they are. Does nothing where it lacks the first; another
  // that is missing or of another kind is Error(kInvalidData).
  void join_stack(const std::string& name, int count,
                  const std::function<std::string(int)>& name_of);

  // Replaces a stack [E, ...] that is there by others, whose matrices are a `change` of each of its
  // own. What was read of the file is given back on the way, so that no more than one matrix is in
  // memory twice. A tensor of other axes takes the first's place, for load_into() to refuse.
  using Part = std::pair<std::string, std::function<mx::array(const mx::array&)>>;
  void split_stack(const std::string& name, const std::vector<Part>& parts);

  // A convolution that its module runs as a product: the weight becomes rows as
  // flatten_conv_weight() makes them.
  void flatten_convolution(const std::string& name, int in_channels);

  // The same weights as MLX's convolutions hold them, [out, ..., in], by module path.
  const std::map<std::string, mx::array>& convolutions() const { return convolutions_; }

  // What no module reads, by the checkpoint's names.
  const std::map<std::string, mx::array>& unread() const { return unread_; }

  // Lets the system have the memory of weights that were read; they are read again when needed.
  // REQUIRES: nothing has taken over the memory of an array that came from here.
  void release_pages() const;

  bool contains(const std::string& name) const { return tensors_.contains(name); }

  // Empty where there is none.
  mx::Shape shape_of(const std::string& name) const;

  // Whether the tensors below both prefixes have the same names, types, shapes and bits. Reads them
  // up to the first difference.
  bool equal(const std::string& prefix, const std::string& other) const;

  // Moves the tensors into the module's parameters. A missing, misshapen or left-over tensor is
  // Error(kInvalidData) that names it.
  void load_into(Module& module);

 private:
  friend class WeightLoader;
  struct Tensor {
    mx::array value;  // a stack whose matrices lie apart is computed only if somebody reads it
    std::string checkpoint_name;
    std::vector<mx::array> matrices = {};
  };
  void add(const std::string& name, Tensor tensor);
  // Of the module at `path`, which the checkpoint calls `own_name`.
  std::optional<kernels::Quantization> quantization_of(const std::string& path,
                                                       const std::string& own_name) const;

  Turned turned_ = Turned::kCopied;
  std::map<std::string, Tensor> tensors_;
  std::map<std::string, mx::array> convolutions_;
  std::map<std::string, mx::array> unread_;
  std::vector<std::shared_ptr<MappedFile>> files_;
  Json quantization_;  // config.json's object, or null
};

// A convolution's weight as rows for a product: [out, in * (depth) * height * width], from
// PyTorch's order (out, in, ...) or MLX's (out, ..., in). Source: mlx-vlm's sanitize rules.
mx::array flatten_conv_weight(const mx::array& weight, int in_channels);

}  // namespace fovea::nn

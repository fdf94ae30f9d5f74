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

class Weights {
 public:
  // model.safetensors.index.json's shards when there is an index, else model.safetensors, else
  // every *.safetensors of the folder but consolidated.*. Throws fovea::Error for a missing,
  // hostile or misnamed file and for a quantisation that is not one of MLX's.
  // Weights that are laid out otherwise than their modules (transform(), split()) get memory of
  // their own in rows, as kernels read them, or stay views of the file, for who takes them piece by
  // piece: a stack of experts may be larger than all memory.
  enum class Changed { kCopied, kViewed };
  static Weights open(const Checkpoint& checkpoint, Changed changed = Changed::kCopied);

  // Renames every tensor to its module path; an empty result puts it aside. The name in the
  // checkpoint is kept for messages.
  void rename(const std::function<std::string(const std::string&)>& rule);

  // Replaces a tensor that is there by `change` of it: for layouts that differ between writers.
  void transform(const std::string& name, const std::function<mx::array(const mx::array&)>& change);

  // Replaces a tensor that is there by others, each a `change` of it.
  using Part = std::pair<std::string, std::function<mx::array(const mx::array&)>>;
  void split(const std::string& name, const std::vector<Part>& parts);

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

  // Whether the tensors below both prefixes have the same names, types, shapes and bits. Reads them
  // up to the first difference.
  bool equal(const std::string& prefix, const std::string& other) const;

  // Moves the tensors into the module's parameters. A missing, misshapen or left-over tensor is
  // Error(kInvalidData) that names it.
  void load_into(Module& module);

 private:
  friend class WeightLoader;
  struct Tensor {
    mx::array value;
    std::string checkpoint_name;
  };
  // Of the module at `path`, which the checkpoint calls `own_name`.
  std::optional<kernels::Quantization> quantization_of(const std::string& path,
                                                       const std::string& own_name) const;

  Changed changed_ = Changed::kCopied;
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

#include "nn/weights.h"

#include <algorithm>
#include <cstring>
#include <set>

#include "base/error.h"
#include "kernels/op.h"
#include "kernels/views.h"
#include "mlx/ops.h"
#include "mlx/transforms.h"
#include "nn/linear.h"
#include "nn/safetensors.h"

namespace fovea::nn {
namespace {

namespace fs = std::filesystem;

std::set<fs::path> shards_of_index(const Checkpoint& checkpoint, const Json& index) {
  const Json map = index["weight_map"].as_object();
  std::set<fs::path> shards;
  for (const auto& key : map.keys()) {
    shards.insert(path_inside(checkpoint.folder, map[key].as_string()));
  }
  return shards;
}

bool has_channels_last(const mx::array& convolution, int in_channels) {
  return convolution.shape(-1) == in_channels && convolution.shape(1) != in_channels;
}

// model.safetensors, else every other file of weights but Mistral's own format.
std::set<fs::path> shards_of_folder(const Checkpoint& checkpoint) {
  const fs::path single = checkpoint.folder / "model.safetensors";
  std::error_code error;
  // A link that leads nowhere is told when it is opened.
  if (fs::symlink_status(single, error).type() != fs::file_type::not_found) return {single};
  std::set<fs::path> shards;
  bool pickled = false;
  // A folder that cannot be read counts as empty.
  for (auto entry = fs::directory_iterator(checkpoint.folder, error);
       !error && entry != fs::directory_iterator(); entry.increment(error)) {
    const auto& path = entry->path();
    if (path.extension() == ".safetensors" &&
        !path.filename().string().starts_with("consolidated")) {
      shards.insert(path);
    }
    pickled = pickled || path.extension() == ".bin";
  }
  if (shards.empty() && pickled) {
    fail(ErrorKind::kUnsupported,
         "[weights] expected weights as safetensors in '{}' but it has only .bin files",
         checkpoint.name);
  }
  if (shards.empty()) {
    fail(ErrorKind::kNotFound, "[weights] expected a .safetensors file in '{}' but there is none",
         checkpoint.name);
  }
  return shards;
}

kernels::QuantizationMode mode_of(const Json& config, const std::string& standard) {
  const std::string name = config.get_string("mode", standard);
  if (const auto mode = kernels::quantization_mode(name)) return *mode;
  fail(ErrorKind::kUnsupported,
       "[config.json] expected affine, mxfp4, nvfp4 or mxfp8 quantisation but got '{}'", name);
}

// Only MLX's own quantisation is read; other methods say which they are.
Json read_quantization(const Json& config) {
  Json found = config.optional_object("quantization");
  if (found.is_null()) found = config.optional_object("quantization_config");
  if (found.is_null()) return found;
  const std::string method = found.get_string("quant_method", "");
  if (!method.empty()) {
    fail(ErrorKind::kUnsupported, "[config.json] expected MLX's quantisation but got '{}'", method);
  }
  mode_of(found, "affine");
  return found;
}

}  // namespace

Weights Weights::open(const Checkpoint& checkpoint, Turned turned) {
  Weights weights;
  weights.turned_ = turned;
  weights.quantization_ = read_quantization(checkpoint.config);
  const Json index = checkpoint.read_json("model.safetensors.index.json");
  const auto shards =
      index.is_null() ? shards_of_folder(checkpoint) : shards_of_index(checkpoint, index);
  for (const auto& shard : shards) {
    weights.files_.push_back(MappedFile::open(shard));
    for (auto& [name, value] : tensors_of(weights.files_.back(), shard.filename().string())) {
      if (!weights.tensors_.emplace(name, Tensor{std::move(value), name}).second) {
        fail(ErrorKind::kInvalidData, "[weights] expected '{}' in one file but two have it", name);
      }
    }
  }
  return weights;
}

void Weights::rename(const std::function<std::string(const std::string&)>& rule) {
  std::map<std::string, Tensor> renamed;
  for (auto& [name, tensor] : tensors_) {
    const std::string path = rule(name);
    if (path.empty()) {
      unread_.emplace(tensor.checkpoint_name, std::move(tensor.value));
      continue;
    }
    const std::string first = tensor.checkpoint_name;
    if (!renamed.emplace(path, std::move(tensor)).second) {
      fail(ErrorKind::kInvalidData, "[weights] expected one tensor for '{}' but '{}' is another",
           path, first);
    }
  }
  tensors_ = std::move(renamed);
}

void Weights::add(const std::string& name, Tensor tensor) {
  const std::string first = tensor.checkpoint_name;
  if (tensors_.emplace(name, std::move(tensor)).second) return;
  fail(ErrorKind::kInvalidData, "[weights] expected one tensor for '{}' but '{}' is another", name,
       first);
}

void Weights::join_stack(const std::string& name, int count,
                         const std::function<std::string(int)>& name_of) {
  if (!contains(name_of(0))) return;
  std::vector<mx::array> matrices;
  std::string first;
  for (int i = 0; i < count; ++i) {
    const auto found = tensors_.find(name_of(i));
    if (found == tensors_.end()) {
      fail(ErrorKind::kInvalidData, "[weights] expected a tensor '{}' but the checkpoint has none",
           name_of(i));
    }
    const auto& [value, checkpoint_name, none] = found->second;
    if (i == 0) first = checkpoint_name;
    if (i > 0 && (value.shape() != matrices[0].shape() || value.dtype() != matrices[0].dtype())) {
      fail(ErrorKind::kInvalidData, "[weights] expected '{}' as {} {} but got {} {}",
           checkpoint_name, kernels::dtype_text(matrices[0]), kernels::shape_text(matrices[0]),
           kernels::dtype_text(value), kernels::shape_text(value));
    }
    matrices.push_back(value);
    tensors_.erase(found);
  }
  add(name, {mx::stack(matrices), first, matrices});
}

void Weights::split_stack(const std::string& name, const std::vector<Part>& parts) {
  const auto found = tensors_.find(name);
  if (found == tensors_.end()) return;
  const Tensor whole = std::move(found->second);
  tensors_.erase(found);
  const mx::array& stack = whole.value;
  if (stack.ndim() != 3 || stack.size() == 0) return add(parts[0].first, whole);
  const mx::Shape one = {stack.shape(1), stack.shape(2)};
  std::vector<std::vector<mx::array>> changed(parts.size());
  for (int i = 0; i < stack.shape(0); ++i) {
    const auto matrix = mx::reshape(mx::slice(stack, {i, 0, 0}, {i + 1, one[0], one[1]}), one);
    for (size_t part = 0; part < parts.size(); ++part) {
      // Now, on the loading thread: what the engine is given must not hang on another thread's
      // stream. A view is made without reading anything.
      auto value = parts[part].second(matrix);
      mx::eval(value);
      if (turned_ == Turned::kCopied) {
        value = kernels::row_major(value);
        mx::eval(value);
      }
      changed[part].push_back(std::move(value));
    }
    if (turned_ == Turned::kCopied) {
      const auto* data = reinterpret_cast<const std::byte*>(stack.data<char>());
      const size_t bytes = stack.nbytes() / static_cast<size_t>(stack.shape(0));
      MappedFile::give_back({data, bytes * static_cast<size_t>(i + 1)});
    }
  }
  for (size_t part = 0; part < parts.size(); ++part) {
    add(parts[part].first, {mx::stack(changed[part]), whole.checkpoint_name, changed[part]});
  }
}

void Weights::flatten_convolution(const std::string& name, int in_channels) {
  const auto found = tensors_.find(name);
  if (found == tensors_.end()) return;
  const mx::array stored = found->second.value;
  if (stored.ndim() >= 3) {
    convolutions_.emplace(
        name, has_channels_last(stored, in_channels)
                  ? stored
                  : mx::contiguous(mx::moveaxis(stored, 1, static_cast<int>(stored.ndim()) - 1)));
  }
  found->second.value = mx::contiguous(flatten_conv_weight(stored, in_channels));
  mx::eval(found->second.value);  // as in split_stack()
}

bool Weights::equal(const std::string& prefix, const std::string& other) const {
  const auto below = [&](const std::string& start) {
    std::map<std::string, mx::array> found;
    for (auto it = tensors_.lower_bound(start);
         it != tensors_.end() && it->first.starts_with(start); ++it) {
      found.emplace(it->first.substr(start.size()), it->second.value);
    }
    return found;
  };
  auto ours = below(prefix);
  auto theirs = below(other);
  return std::equal(ours.begin(), ours.end(), theirs.begin(), theirs.end(), [](auto& a, auto& b) {
    auto& [name, x] = a;
    auto& [other_name, y] = b;
    if (name != other_name || x.dtype() != y.dtype() || x.shape() != y.shape()) return false;
    mx::eval(x, y);
    return std::memcmp(x.template data<char>(), y.template data<char>(), x.nbytes()) == 0;
  });
}

mx::Shape Weights::shape_of(const std::string& name) const {
  const auto found = tensors_.find(name);
  return found == tensors_.end() ? mx::Shape{} : found->second.value.shape();
}

void Weights::release_pages() const {
  for (const auto& file : files_) MappedFile::give_back(file->bytes());
}

// Overrides are keyed by the module's path, with or without the name of the language model, or by
// what the checkpoint calls it.
std::optional<kernels::Quantization> Weights::quantization_of(const std::string& path,
                                                              const std::string& own_name) const {
  if (quantization_.is_null()) {
    fail(ErrorKind::kInvalidData,
         "[config.json] expected 'quantization' because '{}' has scales but there is none", path);
  }
  Json found = quantization_;
  constexpr std::string_view prefix = "language_model.";
  for (const auto& name :
       {path, path.starts_with(prefix) ? path.substr(prefix.size()) : path, own_name}) {
    const Json entry = quantization_[name];
    if (entry.is_bool() && !entry.as_bool()) return std::nullopt;
    if (entry.is_object()) found = entry;
  }
  const auto mode = mode_of(found, quantization_.get_string("mode", "affine"));
  // What the whole checkpoint says holds for entries of its mode alone.
  const auto standard = kernels::standard_quantization(mode);
  const Json outer = mode == mode_of(quantization_, "affine") ? quantization_ : Json();
  const auto number = [&](const char* key, int otherwise) {
    return found.get_int(key, outer.is_null() ? otherwise : outer.get_int(key, otherwise));
  };
  const kernels::Quantization quantization{number("group_size", standard.group_size),
                                           number("bits", standard.bits), mode};
  if (quantization.is_supported()) return quantization;
  if (!quantization.has_biases()) {
    fail(ErrorKind::kInvalidData,
         "[config.json] expected {} bits in groups of {} for {} at '{}' but got {} bits in groups "
         "of {}",
         standard.bits, standard.group_size, to_string(mode), found.path(), quantization.bits,
         quantization.group_size);
  }
  fail(ErrorKind::kInvalidData,
       "[config.json] expected 2, 3, 4, 5, 6 or 8 bits in groups of 32, 64 or 128 at '{}' but got "
       "{} bits in groups of {}",
       found.path(), quantization.bits, quantization.group_size);
}

class WeightLoader : public PathVisitor {
 public:
  explicit WeightLoader(Weights& weights) : weights_(weights) {}

  void parameter(const std::string& name, mx::array& value) override {
    const std::string path = full_name(name);
    const auto found = weights_.tensors_.find(path);
    if (found == weights_.tensors_.end()) {
      fail(ErrorKind::kInvalidData, "[weights] expected a tensor '{}' but the checkpoint has none",
           path);
    }
    const auto& [tensor, checkpoint_name, matrices] = found->second;
    // What is quantised has one type; what is not may be of any float.
    const bool whole = !mx::issubdtype(value.dtype(), mx::floating);
    if (tensor.shape() != value.shape() ||
        (whole ? tensor.dtype() != value.dtype() : !mx::issubdtype(tensor.dtype(), mx::floating))) {
      fail(ErrorKind::kInvalidData, "[weights] expected '{}' as {} {} but got {} {}",
           checkpoint_name, whole ? kernels::dtype_text(value) : "floating-point",
           kernels::shape_text(value), kernels::dtype_text(tensor), kernels::shape_text(tensor));
    }
    value = tensor;
    if (!matrices.empty()) module_->set_matrices(matrices);
    weights_.tensors_.erase(found);
  }

  void quantizable(QuantizableWeight& weight) override {
    module_ = &weight;
    const std::string path = module_name();
    const mx::array* scales = find("scales");
    const mx::array* biases = find("biases");
    if (!scales) {
      if (const auto* packed = find("weight"); packed && packed->dtype() == mx::uint32) {
        fail(ErrorKind::kInvalidData,
             "[weights] expected a tensor '{}.scales' beside a weight of uint32 but the checkpoint "
             "has none",
             path);
      }
      return;
    }
    if (biases && biases->dtype() != scales->dtype()) {
      fail(ErrorKind::kInvalidData,
           "[weights] expected scales and biases of one type for '{}' but they are {} and {}", path,
           kernels::dtype_text(*scales), kernels::dtype_text(*biases));
    }
    const std::string& own = weights_.tensors_.at(full_name("scales")).checkpoint_name;
    const auto found = weights_.quantization_of(path, own.substr(0, own.rfind('.')));
    if (found) weight.set_quantization(*found, path);
  }

 private:
  // The named tensor of the module that is visited, or null.
  const mx::array* find(const char* name) const {
    const auto found = weights_.tensors_.find(full_name(name));
    return found == weights_.tensors_.end() ? nullptr : &found->second.value;
  }

  Weights& weights_;
  QuantizableWeight* module_ = nullptr;  // the last that was shown, of whose weights stacks are
};

void Weights::load_into(Module& module) {
  WeightLoader loader(*this);
  module.visit(loader);
  if (tensors_.empty()) return;
  const auto& name = tensors_.begin()->second.checkpoint_name;
  fail(ErrorKind::kInvalidData, "[weights] expected no tensor '{}': the model has no place for {}",
       name, tensors_.size() == 1 ? "it" : fmt::format("it and {} others", tensors_.size() - 1));
}

mx::array flatten_conv_weight(const mx::array& weight, int in_channels) {
  const int axes = static_cast<int>(weight.ndim());
  if (axes < 3) return weight;
  if (!has_channels_last(weight, in_channels)) return mx::reshape(weight, {weight.shape(0), -1});
  const auto ordered = mx::moveaxis(weight, axes - 1, 1);
  return mx::contiguous(mx::reshape(ordered, {weight.shape(0), -1}));
}

}  // namespace fovea::nn

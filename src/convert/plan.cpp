#include "convert/plan.h"

#include <array>

#include "base/error.h"
#include "models/names.h"
#include "nn/linear.h"
#include "nn/safetensors.h"

namespace fovea::convert {
namespace {

using Work = PlannedWeight::Work;

constexpr std::array kGroups = {128, 64, 32};

std::vector<int64_t> shape_of(const mx::array& x) { return {x.shape().begin(), x.shape().end()}; }

// The same with rows of another length: of a weight, or of a stack of them.
std::vector<int64_t> with_row(std::vector<int64_t> shape, int64_t length) {
  shape.back() = length;
  return shape;
}

int64_t source_bytes(const PlannedWeight& weight) {
  int64_t bytes = 0;
  for (const auto& source : weight.sources) bytes += static_cast<int64_t>(source.nbytes());
  return bytes;
}

class Planner : public nn::PathVisitor {
 public:
  Planner(const std::map<std::string, mx::array>& convolutions, const WeightOptions& options,
          const models::Model& model)
      : convolutions_(convolutions),
        options_(options),
        num_layers_(model.info().num_layers),
        layout_(model.mlx_layout()) {}

  void quantizable(nn::QuantizableWeight& weight) override {
    module_ = &weight;
    if (!weight.quantization()) return;
    quantised_ = true;
    if (!options_.recipe) return;
    fail(ErrorKind::kInvalidArgument,
         "[convert] expected weights that are not quantised but '{}' has {} bits already; "
         "--dequantize first",
         module_name(), weight.quantization()->bits);
  }

  void parameter(const std::string& name, mx::array& value) override {
    const std::string path = full_name(name);
    const auto convolution = convolutions_.find(path);
    const mx::array& source = convolution == convolutions_.end() ? value : convolution->second;
    const bool of_module = module_ && name == "weight";
    if (of_module && module_->quantization()) {
      packed(source);
    } else if (continues_packed(name)) {
      plan_.weights.back().sources.push_back(source);
      dequantized(plan_.weights.back());
    } else if (of_module && convolution == convolutions_.end() && quantizes()) {
      quantized(source);
    } else {
      copied(path, source);
      if (name != "scales" && name != "biases") plan_.values += source.size();
    }
    if (of_module) plan_.weights.back().matrices = module_->matrices();
    if (name == "weight") module_ = nullptr;
  }

  // A tensor that no module reads, but perhaps mlx-vlm's.
  void unread(const std::string& name, const mx::array& value) {
    const std::string path = layout_.unread ? layout_.unread(name) : "";
    if (path.empty()) return;
    copied(path, value);
    plan_.values += static_cast<int64_t>(value.size());
  }

  Plan take() {
    if (options_.dequantize && !quantised_) {
      fail(ErrorKind::kInvalidArgument,
           "[--dequantize] expected quantised weights but there are none");
    }
    if (!layout_.second_head.empty()) write_head_again();
    return std::move(plan_);
  }

 private:
  mx::Dtype dtype_of(const mx::array& source) const {
    const bool floats = mx::issubdtype(source.dtype(), mx::floating);
    return floats ? options_.dtype.value_or(source.dtype()) : source.dtype();
  }

  bool continues_packed(const std::string& name) const {
    return !plan_.weights.empty() && plan_.weights.back().work == Work::kDequantize &&
           plan_.weights.back().path == module_name() && (name == "scales" || name == "biases");
  }

  void copied(const std::string& path, const mx::array& source) {
    PlannedWeight weight;
    weight.path = path;
    weight.sources = {source};
    weight.dtype = dtype_of(source);
    weight.entries = {{written_name(path), nn::safetensors_dtype(weight.dtype), shape_of(source)}};
    plan_.weights.push_back(std::move(weight));
  }

  // What mlx-vlm calls the tensor `path`, or the module.
  std::string written_name(const std::string& path) const {
    for (const auto& [here, there] : layout_.names) {
      if (path == here || path.starts_with(here + ".")) return there + path.substr(here.size());
    }
    return path;
  }

  // The tensors of a packed table of embeddings under the name of the head.
  void write_head_again() {
    const std::string& head = layout_.second_head;
    const auto of = [](const std::string& name, const std::string& module) {
      return name.starts_with(module + ".");
    };
    std::vector<PlannedWeight> again;
    bool packed = false;
    for (const auto& weight : plan_.weights) {
      if (of(weight.entries[0].name, head)) return;  // a head of its own
      if (!of(weight.entries[0].name, layout_.table)) continue;
      again.push_back(weight);
      again.back().path = head + weight.path.substr(layout_.table.size());
      again.back().again = true;
      for (auto& entry : again.back().entries) {
        packed = packed || entry.name.ends_with(".scales");
        entry.name = head + entry.name.substr(layout_.table.size());
      }
    }
    if (!packed) return;
    plan_.weights.insert(plan_.weights.end(), again.begin(), again.end());
    plan_.tied_head_written = true;
    if (table_format_) plan_.overrides.emplace(head, *table_format_);
  }

  // A weight that is quantised already; its scales and biases follow.
  void packed(const mx::array& source) {
    const auto& q = *module_->quantization();
    plan_.values += int64_t{32} * static_cast<int64_t>(source.size()) / q.bits;
    if (!options_.dequantize) {
      if (module_name() == layout_.table) {
        table_format_ = QuantFormat{kernels::to_string(q.mode), q.group_size, q.bits};
      }
      return copied(full_name("weight"), source);
    }
    PlannedWeight weight;
    weight.work = Work::kDequantize;
    weight.path = module_name();
    weight.format = {kernels::to_string(q.mode), q.group_size, q.bits};
    weight.sources = {source};
    weight.entries = {
        {written_name(full_name("weight")), "", with_row(shape_of(source), module_->in_size())}};
    plan_.weights.push_back(std::move(weight));
  }

  // Scales that are no floats stand for values in bfloat16.
  void dequantized(PlannedWeight& weight) {
    const mx::array& scales = weight.sources.back();
    const bool floats = mx::issubdtype(scales.dtype(), mx::floating);
    weight.dtype = floats ? dtype_of(scales) : options_.dtype.value_or(mx::bfloat16);
    weight.entries[0].dtype = nn::safetensors_dtype(weight.dtype);
  }

  // Whether the recipe reaches this weight. Tables of positions in a tower are read as they are.
  bool quantizes() {
    if (!options_.recipe) return false;
    const std::string path = module_name();
    if (models::is_multimodal(path)) {
      const bool table = dynamic_cast<const nn::Embedding*>(module_) != nullptr;
      if (options_.towers == Towers::kKept || table) return false;
    }
    if (path == layout_.plain_head && !options_.recipe->more_bits) return false;
    const QuantFormat format = format_of(*options_.recipe, path, num_layers_);
    if (module_->in_size() % format.group_size == 0) return true;
    require_no_smaller_group(path, format);
    plan_.left_plain.push_back(path);
    return false;
  }

  void require_no_smaller_group(const std::string& path, const QuantFormat& format) const {
    if (format.mode != "affine" || options_.recipe->more_bits) return;
    for (const int group : kGroups) {
      if (module_->in_size() % group != 0) continue;
      fail(ErrorKind::kInvalidArgument,
           "[--q-group-size] expected a divisor of the {} inputs of '{}' but got {}; {} fits",
           module_->in_size(), path, format.group_size, group);
    }
  }

  void quantized(const mx::array& source) {
    const std::string path = module_name();
    PlannedWeight weight;
    weight.work = Work::kQuantize;
    weight.path = path;
    weight.sources = {source};
    weight.dtype = dtype_of(source);
    weight.format = format_of(*options_.recipe, path, num_layers_);
    const bool affine = weight.format.mode == "affine";
    const int64_t in = module_->in_size();
    const auto shape = shape_of(source);
    const std::string floats = affine ? nn::safetensors_dtype(weight.dtype) : "U8";
    const std::string name = written_name(path);
    weight.entries.push_back(
        {name + ".weight", "U32", with_row(shape, in / 32 * weight.format.bits)});
    weight.entries.push_back(
        {name + ".scales", floats, with_row(shape, in / weight.format.group_size)});
    if (affine) weight.entries.push_back({name + ".biases", floats, weight.entries[1].shape});
    if (weight.format != options_.recipe->format) {
      plan_.overrides.emplace(name, weight.format);
      if (path == layout_.table) table_format_ = weight.format;
    }
    plan_.values += static_cast<int64_t>(source.size());
    plan_.weights.push_back(std::move(weight));
  }

  const std::map<std::string, mx::array>& convolutions_;
  const WeightOptions& options_;
  int num_layers_;
  models::MlxLayout layout_;
  std::optional<QuantFormat> table_format_;  // where the head's must be told
  nn::QuantizableWeight* module_ = nullptr;  // whose weight comes next
  bool quantised_ = false;                   // some weight was, before
  Plan plan_;
};

}  // namespace

int64_t Plan::bytes_before() const {
  int64_t bytes = 0;
  for (const auto& weight : weights) {
    if (!weight.again) bytes += source_bytes(weight);
  }
  return bytes;
}

int64_t Plan::bytes_read() const {
  int64_t bytes = 0;
  for (const auto& weight : weights) bytes += source_bytes(weight);
  return bytes;
}

int64_t Plan::bytes_after() const {
  int64_t bytes = 0;
  for (const auto& entry : entries()) bytes += entry.bytes();
  return bytes;
}

std::vector<nn::TensorEntry> Plan::entries() const {
  std::vector<nn::TensorEntry> all;
  for (const auto& weight : weights) {
    all.insert(all.end(), weight.entries.begin(), weight.entries.end());
  }
  return all;
}

Plan plan_conversion(models::Model& model, const nn::Weights& weights,
                     const WeightOptions& options) {
  Planner planner(weights.convolutions(), options, model);
  model.visit(planner);
  for (const auto& [name, value] : weights.unread()) planner.unread(name, value);
  return planner.take();
}

}  // namespace fovea::convert

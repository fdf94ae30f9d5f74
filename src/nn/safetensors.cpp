#include "nn/safetensors.h"

#include <fovea_rust.h>

#include <map>

#include "base/error.h"
#include "base/json.h"
#include "mlx/allocator.h"

namespace fovea::nn {
namespace {

Json validated_header(const MappedFile& file, const std::string& name) {
  FoveaBytes json{};
  FoveaBytes error{};
  const auto* bytes = reinterpret_cast<const uint8_t*>(file.data());
  const bool good = fovea_safetensors_parse(bytes, file.size(), &json, &error) == 0;
  const FoveaBytes answer = good ? json : error;
  const std::string text(answer.data, answer.size);
  fovea_free_bytes(answer);
  if (!good) {
    fail(ErrorKind::kInvalidData, "[weights] expected a safetensors file but '{}' is not: {}", name,
         text);
  }
  return Json::parse(text, name);
}

const std::map<std::string, mx::Dtype>& dtypes() {
  static const std::map<std::string, mx::Dtype> kDtypes = {
      {"F32", mx::float32}, {"BF16", mx::bfloat16}, {"F16", mx::float16},
      {"U32", mx::uint32},  {"I64", mx::int64},     {"I32", mx::int32},
      {"U8", mx::uint8},    {"I8", mx::int8},       {"BOOL", mx::bool_}};
  return kDtypes;
}

mx::Dtype dtype_of(const Json& tensor) {
  const std::string name = tensor["dtype"].as_string();
  const auto found = dtypes().find(name);
  if (found != dtypes().end()) return found->second;
  fail(ErrorKind::kUnsupported, "[weights] expected F32, BF16, F16 or U32 in '{}' but got {}",
       tensor["name"].as_string(), name);
}

// MLX's CPU buffers point at a size word that stands before the data. Here it is the last bytes of
// the header or of the tensor before, which are always there. MLX reads it (array::buffer_size)
// only to tell whether an input that nobody else holds is worth taking over, so any value will do;
// then it writes into the mapping, which is private and may be written to.
mx::array view(const std::shared_ptr<MappedFile>& file, size_t begin, mx::Shape shape,
               mx::Dtype dtype) {
  void* data = file->data() + begin - sizeof(size_t);
  return mx::array(
      mx::allocator::Data(mx::allocator::Buffer(data), [file](mx::allocator::Buffer) {}),
      std::move(shape), dtype);
}

}  // namespace

std::string safetensors_dtype(const mx::Dtype& dtype) {
  for (const auto& [name, known] : dtypes()) {
    if (known == dtype) return name;
  }
  return "";
}

std::vector<std::pair<std::string, mx::array>> map_safetensors(const std::filesystem::path& path) {
  return tensors_of(MappedFile::open(path), path.filename().string());
}

std::vector<std::pair<std::string, mx::array>> tensors_of(const std::shared_ptr<MappedFile>& file,
                                                          const std::string& name) {
  const Json header = validated_header(*file, name);
  std::vector<std::pair<std::string, mx::array>> tensors;
  for (size_t i = 0; i < header.size(); ++i) {
    const Json tensor = header.at(i);
    mx::Shape shape;
    for (const int size : tensor["shape"].as_int_list()) shape.push_back(size);
    tensors.emplace_back(tensor["name"].as_string(),
                         view(file, static_cast<size_t>(tensor["begin"].as_int()), std::move(shape),
                              dtype_of(tensor)));
  }
  return tensors;
}

}  // namespace fovea::nn

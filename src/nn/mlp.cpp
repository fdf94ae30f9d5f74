#include "nn/mlp.h"

#include "base/error.h"

namespace fovea::nn {

kernels::Gelu gelu_from_config(const Json& config, const std::string& key,
                               const std::string& fallback) {
  const std::string name = config.get_string(key, fallback);
  if (name == "gelu") return kernels::Gelu::kExact;
  if (name == "quick_gelu") return kernels::Gelu::kQuick;
  if (name == "gelu_pytorch_tanh" || name == "gelu_new") return kernels::Gelu::kTanh;
  fail(ErrorKind::kUnsupported,
       "[{}] expected gelu, quick_gelu, gelu_new or gelu_pytorch_tanh at '{}' but got '{}'",
       config.where(), config[key].path(), name);
}

}  // namespace fovea::nn

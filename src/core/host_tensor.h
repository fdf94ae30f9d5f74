// A dense row-major float array in ordinary memory: how processors hand pixels and mels to models
// without touching the array library.
#pragma once

#include <cstddef>
#include <vector>

namespace fovea {

struct HostTensor {
  std::vector<int> shape;
  std::vector<float> data;  // product(shape) values
};

}  // namespace fovea

// Numbers of config.json that a formula divides by or takes a root of. Any thread may call.
#pragma once

#include <limits>
#include <string>

#include "base/json.h"

namespace fovea::nn {

// The number at `key`, or `fallback` where the config does not say. Throws Error(kInvalidData)
// naming the key unless it is above 0 as a float32.
inline double positive_number(const Json& config, const std::string& key, double fallback) {
  const double number = config.get_double(key, fallback);
  if (number >= std::numeric_limits<float>::min() && number <= std::numeric_limits<float>::max()) {
    return number;
  }
  fail(ErrorKind::kInvalidData, "[{}] expected a number above 0 at '{}' but got {}", config.where(),
       config[key].path(), config[key].dump());
}

}  // namespace fovea::nn

// Sound as every entrance states it, and as models hear it. Plain data; any thread may read.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/file.h"

namespace fovea {

// One channel in ordinary memory, each sample about -1 to 1.
struct Sound {
  int rate = 0;  // samples a second
  std::vector<float> samples;
  double seconds() const { return rate > 0 ? static_cast<double>(samples.size()) / rate : 0; }
};

// Encoded sound: an open file, or bytes where there is none. Cheap to copy.
struct SoundInput {
  std::string name;  // what the user called it, for messages
  std::shared_ptr<const std::string> bytes;
  std::shared_ptr<const InputFile> file;
  std::optional<double> start;  // seconds from the first sample; 0
  std::optional<double> end;    // the last
};

}  // namespace fovea

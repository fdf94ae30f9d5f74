// `fovea convert`: a checkpoint, read a few rows at a time, written to a new folder in
// mlx-community's layout. One thread.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "convert/channel_scales.h"
#include "convert/plan.h"
#include "core/checkpoint.h"
#include "nn/sharded_writer.h"

namespace fovea::convert {

enum class Phase { kCalibrating, kScaling, kWriting };

// Activation-aware scales (channel_scales.h): what is shown to the model is read from `calibration`
// (calibration.h), or is the standard where that is empty.
struct Awq {
  std::filesystem::path calibration = {};
  Clips clips = Clips::kNone;
};

struct Options {
  // Where `weights.dtype` is absent, config.json's own holds.
  WeightOptions weights;
  int64_t shard_bytes_max = nn::kShardBytesMax;
  std::optional<Awq> awq = {};
  // After every few rows: of what, how much was done, and all. Writing counts bytes of weights.
  std::function<void(Phase, int64_t, int64_t)> progress = {};
  // Asked as often; true ends the conversion with Error(kCancelled).
  std::function<bool()> stopped = {};
};

struct Converted {
  int64_t bytes_before = 0;
  int64_t bytes_after = 0;
  int64_t values = 0;
  int files = 0;
  std::vector<std::string> left_plain;  // as Plan says
  std::optional<ScaleReport> scales = {};

  double bits_per_weight() const {
    return static_cast<double>(bytes_after) * 8 / static_cast<double>(values);
  }
};

// Writes `out`, which must not exist; it appears under its name when it is whole, synced to the
// disk. Throws fovea::Error, and then nothing of it is left: for what the checkpoint has, for
// options that do not suit it, for an `out` that exists, and kIo where the disk has too little
// room.
Converted convert_checkpoint(const Checkpoint& checkpoint, const Options& options,
                             const std::filesystem::path& out);

}  // namespace fovea::convert

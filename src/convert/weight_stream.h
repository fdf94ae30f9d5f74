// Makes the bytes of planned weights, a few rows at a time, so that a checkpoint of any size takes
// the memory of those rows. One thread; MLX's own threads do the work.
#pragma once

#include <cstddef>
#include <functional>
#include <span>
#include <vector>

#include "convert/plan.h"

namespace fovea::convert {

// Rows [r, K] whose groups are cut to (1 - step / 20) of their largest magnitude, by the steps
// [r, groups] below kClipSteps.
inline constexpr int kClipSteps = 10;
mx::array clipped(const mx::array& rows, const mx::array& steps, int group_size,
                  const mx::Stream& stream);

// One for each core, for pieces side by side.
std::vector<mx::Stream> worker_streams();

class WeightStream {
 public:
  // Bytes of the next entry, in the order of PlannedWeight::entries.
  using Sink = std::function<void(std::span<const std::byte>)>;
  // After every few rows: how many bytes of sources they were. May throw to stop.
  using Step = std::function<void(int64_t)>;

  WeightStream(Sink sink, Step step);

  void write(const PlannedWeight& weight);

 private:
  Sink sink_;
  Step step_;
  std::vector<mx::Stream> streams_;
};

}  // namespace fovea::convert

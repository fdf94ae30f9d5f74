#include "processors/frame_choice.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"

namespace fovea::processors {
namespace {

constexpr double kSameTime = 1e-6;  // seconds

// The frames from `first` on that stand between two times.
struct Part {
  int first = 0;
  int count = 0;
};

Part part_of(const media::VideoInfo& info, const VideoSampling& wanted, const std::string& name) {
  const auto& times = info.times;
  const double start = wanted.start.value_or(0);
  const double end = wanted.end.value_or(times.back());
  if (end < start) {
    fail(ErrorKind::kInvalidArgument,
         "[video] expected an end behind the start of {} s for '{}' but got {}", start, name, end);
  }
  const auto first = std::lower_bound(times.begin(), times.end(), start - kSameTime);
  const auto last = std::upper_bound(times.begin(), times.end(), end + kSameTime);
  if (first >= last) {
    fail(ErrorKind::kInvalidArgument,
         "[video] expected a frame of '{}' from {} s to {} s but its {} frames end at {:.3f} s",
         name, start, end, times.size(), times.back());
  }
  return {static_cast<int>(first - times.begin()), static_cast<int>(last - first)};
}

// The frames that are nearest to evenly spaced times.
std::vector<int> at_even_times(const std::vector<double>& times, Part part, int count) {
  const auto begin = times.begin() + part.first;
  const auto end = begin + part.count;
  const double step = count > 1 ? (*(end - 1) - *begin) / (count - 1) : 0;
  std::vector<int> frames;
  for (int i = 0; i < count; ++i) {
    const double wanted = *begin + i * step;
    auto nearest = std::min(std::lower_bound(begin, end, wanted), end - 1);
    if (nearest > begin && wanted - *(nearest - 1) < *nearest - wanted) --nearest;
    frames.push_back(static_cast<int>(nearest - times.begin()));
  }
  return frames;
}

}  // namespace

VideoSampling standard_sampling() {
  VideoSampling standard;
  standard.fps = kVideoFps.standard;
  standard.min_frames = kVideoMinFrames.standard;
  standard.max_frames = kVideoMaxFrames.standard;
  return standard;
}

std::vector<int> evenly_spaced(int total, int count) {
  std::vector<int> numbers;
  const double step = count > 1 ? static_cast<double>(total - 1) / (count - 1) : 0;
  for (int i = 0; i + 1 < count; ++i) numbers.push_back(static_cast<int>(std::nearbyint(i * step)));
  if (count > 0) numbers.push_back(count > 1 ? total - 1 : 0);
  return numbers;
}

int frame_count(int total, double video_fps, const VideoSampling& wanted,
                const VideoSampling& standard, int factor) {
  if (wanted.frames) {
    const int count = static_cast<int>(std::nearbyint(*wanted.frames / double(factor))) * factor;
    if (count > total) {
      fail(ErrorKind::kInvalidArgument,
           "[video] expected a number of frames up to the {} there are but got {}", total,
           *wanted.frames);
    }
    return std::max(count, std::min(total, factor));
  }
  const double fps = wanted.fps.value_or(*standard.fps);
  const int least = wanted.min_frames.value_or(*standard.min_frames);
  const int most = wanted.max_frames.value_or(*standard.max_frames);
  const double low = std::ceil(least / double(factor)) * factor;
  const double high = std::floor(std::min(most, total) / double(factor)) * factor;
  const double count = std::min(std::max(total / video_fps * fps, low), high);
  return std::max(static_cast<int>(std::floor(count / factor)) * factor, std::min(total, factor));
}

FrameChoice choose_frames(const media::VideoInfo& info, const VideoSampling& wanted,
                          const VideoSampling& standard, int factor, const std::string& name) {
  const Part part = part_of(info, wanted, name);
  const auto time = [&](int frame) { return info.times[static_cast<size_t>(frame)]; };
  double fps = info.fps;
  if (!info.constant_rate && part.count > 1) {
    fps = (part.count - 1) / (time(part.first + part.count - 1) - time(part.first));
  }
  const int count = frame_count(part.count, fps, wanted, standard, factor);
  FrameChoice choice;
  if (info.constant_rate) {
    choice.frames = evenly_spaced(part.count, count);
    for (int& frame : choice.frames) frame += part.first;
  } else {
    choice.frames = at_even_times(info.times, part, count);
  }
  for (const int frame : choice.frames) choice.times.push_back(time(frame));
  choice.fps = count / double(part.count) * fps;
  return choice;
}

}  // namespace fovea::processors

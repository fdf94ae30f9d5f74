// Which frames of a video a model is given. Any thread may call. Source: qwen-vl-utils and
// mlx_vlm/utils.py, which agree; docs/media.md tells where videos without a constant rate differ.
#pragma once

#include <vector>

#include "core/message.h"
#include "media/video.h"

namespace fovea::processors {

struct FrameChoice {
  std::vector<int> frames;    // ascending, with repeats where a video stands still
  std::vector<double> times;  // of each, in seconds from the video's first
  double fps = 0;             // frames taken for each second of the part that was asked for
};

// `count` whole numbers from 0 to total - 1, evenly spaced, rounded to even where halfway.
std::vector<int> evenly_spaced(int total, int count);

// How many frames to take of `total` at `video_fps`: wanted.frames, or wanted.fps a second within
// min_frames and max_frames, in multiples of `factor`; fewer only where there are fewer. What
// `wanted` leaves out is `standard`'s, which has fps, min_frames and max_frames. Throws
// Error(kInvalidArgument) for more frames than there are.
int frame_count(int total, double video_fps, const VideoSampling& wanted,
                const VideoSampling& standard, int factor);

// Of the part from wanted.start to wanted.end. Throws Error(kInvalidArgument) for a part without
// frames; `name` is what the user called the video.
FrameChoice choose_frames(const media::VideoInfo& info, const VideoSampling& wanted,
                          const VideoSampling& standard, int factor, const std::string& name);

// What mlx-vlm takes where neither the request nor the checkpoint says: 2 a second, 4 to 768.
VideoSampling standard_sampling();

}  // namespace fovea::processors

// From a video to what a vision tower takes, for families that take videos as such; others are
// given single frames (frame_pictures.h). Immutable; any thread may call.
#pragma once

#include <array>
#include <memory>
#include <string>

#include "core/checkpoint.h"
#include "core/host_tensor.h"
#include "core/message.h"
#include "media/video.h"
#include "processors/frame_choice.h"

namespace fovea::processors {

struct ProcessedVideo {
  HostTensor pixels;                        // family layout, see each implementation
  std::array<int, 3> grid_thw = {0, 0, 0};  // patches in time, height, width
  double seconds_per_grid = 0;              // of time for each step of the first
  int tokens = 0;                           // placeholders that the video takes in the prompt
  // The text that stands for `wrapped`, with the video token in it `tokens` times; both empty where
  // the token is repeated.
  std::string markup;
  std::string wrapped;
  Size used;  // of a frame, after resizing
  FrameChoice choice;
};

class VideoProcessor {
 public:
  virtual ~VideoProcessor() = default;
  // Chooses frames, reads and resizes them one by one. `name` is what the user called the video.
  virtual ProcessedVideo process(media::Video& video, const VideoSampling& wanted,
                                 const std::string& name) const = 0;
};

// The settings for videos: `video_processor` of processor_config.json, else
// video_preprocessor_config.json, else preprocessor_config.json; null without any.
Json video_processor_config(const Checkpoint& checkpoint);

// Qwen2-VL and Qwen2.5-VL: one run of tokens. Qwen3-VL: the time before each pair of frames.
std::unique_ptr<VideoProcessor> make_qwen2_vl_video_processor(const Checkpoint& checkpoint);
std::unique_ptr<VideoProcessor> make_qwen3_vl_video_processor(const Checkpoint& checkpoint);

}  // namespace fovea::processors

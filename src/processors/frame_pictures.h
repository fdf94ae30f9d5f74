// Videos for families that take none: single frames in the place of each. Any thread may call.
#pragma once

#include <memory>
#include <vector>

#include "core/message.h"
#include "media/video.h"
#include "processors/frame_choice.h"
#include "processors/frame_story.h"

namespace fovea::processors {

struct ChosenFrames {
  std::unique_ptr<media::Video> video;
  FrameChoice choice;
};

// What mlx-vlm gives such families: frames as for any other, all videos in a row, and of them at
// most 16 evenly spaced ones, or the smallest `max_frames`. A video that is told how many `frames`
// has those beside the others. A family with a story of its own has its own rule.
std::vector<ChosenFrames> choose_pictures(const std::vector<VideoInput>& videos,
                                          const FrameStory* story);

// Replaces each part that names a video, and puts videos that no part names before the text of the
// last user message; request.videos is empty then. `parts` are those of each video.
void put_in_place_of_videos(ChatRequest& request, const std::vector<std::vector<Part>>& parts);

}  // namespace fovea::processors

// Video through FFmpeg's libraries.
#pragma once

#include <memory>

#include "media/video.h"

namespace fovea::media {

std::unique_ptr<Video> open_ffmpeg_video(const VideoInput& input, const VideoLimits& limits);

}  // namespace fovea::media

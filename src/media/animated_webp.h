// Animated WebP through libwebp.
#pragma once

#include <memory>
#include <string_view>

#include "media/video.h"

namespace fovea::media {

bool is_webp(std::string_view head);  // 12 bytes are enough

std::unique_ptr<Video> open_animated_webp(std::string name, std::string bytes,
                                          const VideoLimits& limits);

}  // namespace fovea::media

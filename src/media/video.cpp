#include "media/video.h"

#include "base/error.h"
#include "media/animated_webp.h"
#include "media/ffmpeg_video.h"

namespace fovea::media {
namespace {

std::string bytes_at(const VideoInput& input, size_t count) {
  if (!input.file) return input.bytes->substr(0, count);
  std::string bytes(count, '\0');
  bytes.resize(input.file->read_at(0, bytes.data(), count));
  return bytes;
}

}  // namespace

std::unique_ptr<Video> Video::open(const VideoInput& input, const VideoLimits& limits) {
  const size_t size = input.file ? input.file->size() : input.bytes->size();
  if (!input.file && size > limits.bytes) {
    fail(ErrorKind::kTooLarge, "[video] expected at most {} bytes in '{}' but got {}", limits.bytes,
         input.name, size);
  }
  if (size == 0) {
    fail(ErrorKind::kInvalidData, "[video] expected a video in '{}' but got 0 bytes", input.name);
  }
  if (!is_webp(bytes_at(input, 12))) return open_ffmpeg_video(input, limits);
  if (size > kPictureBytesMax) {
    fail(ErrorKind::kTooLarge, "[video] expected at most {} bytes in the WebP '{}' but got {}",
         kPictureBytesMax, input.name, size);
  }
  return open_animated_webp(input.name, bytes_at(input, size), limits);
}

}  // namespace fovea::media

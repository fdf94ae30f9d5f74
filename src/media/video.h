// Frames out of an encoded video, which may come from anybody: MP4, MOV, MKV, WebM, AVI, MPEG, FLV,
// Ogg, GIF and APNG through FFmpeg's libraries, animated WebP through libwebp. The format is told
// by the bytes, never by a name; only listed containers and codecs are read, from the given bytes
// alone: a playlist, a reference to another file and an address are refused. Colours are as
// swscale's bicubic conversion gives them for the stream's own matrix and range, which is what
// OpenCV gives too; transparency is dropped, and pixels that are not square stay as they are.
//
// A Video is opened and read by one thread at a time. Memory is that of the decoder's few frames
// and 24 bytes for each frame of the file.
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "core/image.h"
#include "core/limits.h"
#include "core/message.h"

namespace fovea::media {

// What a file may ask for; the numbers of limits.h unless a caller says less.
struct VideoLimits {
  size_t bytes = kVideoBytesMax;
  int frames = kVideoFramesMax;
  double seconds = kVideoSecondsMax;
  int64_t frame_pixels = kPicturePixelsMax;
  double decode_seconds = kVideoDecodeSecondsMax;  // from open() on
};

struct VideoInfo {
  Size size;                  // upright, of the stream; single frames may differ
  std::vector<double> times;  // of every frame in order, in seconds from the first
  double fps = 0;             // frames a second: the stream's, or their mean
  bool constant_rate = true;  // whether times are 0/fps, 1/fps, ...
  double duration = 0;        // seconds, to the end of the last frame
  std::string container;      // as FFmpeg calls them: "matroska,webm"
  std::string codec;          // "vp9"
};

class Video {
 public:
  // Reads the whole file once, without decoding it, to learn when each frame is shown. Throws
  // Error(kInvalidData) for what is no video, has no video stream or no frame, or breaks off early
  // (unless sampling.end asks for no more than is there), Error(kTooLarge) beyond the limits,
  // Error(kUnsupported) for a codec that is not listed or without FFmpeg's libraries.
  static std::unique_ptr<Video> open(const VideoInput& input, const VideoLimits& limits = {});

  virtual ~Video() = default;
  const VideoInfo& info() const { return info_; }

  // Decodes frames: ascending numbers into info().times, of which some may repeat. `take` is given
  // each, with its place in `frames`; the picture is upright. Skips to key frames where that is
  // faster, with the same result. Throws Error(kInvalidData) for a frame that cannot be decoded,
  // Error(kTooLarge) beyond the limits.
  using Take = std::function<void(size_t place, const Image& frame)>;
  virtual void read(std::span<const int> frames, const Take& take) = 0;

 protected:
  VideoInfo info_;
};

}  // namespace fovea::media

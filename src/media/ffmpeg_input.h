// The container of a video: its packets, and when each of its frames is shown. Bytes come from
// memory or an open file alone; FFmpeg may open nothing by itself. For one thread at a time.
#pragma once

#include <chrono>
#include <memory>
#include <vector>

#include "media/ffmpeg.h"
#include "media/video.h"

namespace fovea::media {

// A frame of the file, in the order in which they are shown.
struct ShownFrame {
  int64_t pts = 0;  // in the stream's time base
  int64_t dts = 0;
  int64_t duration = 0;
  bool key = false;
};

class FfmpegInput {
 public:
  // Opens it and reads it once; throws as Video::open() does.
  FfmpegInput(const VideoInput& input, const VideoLimits& limits);
  ~FfmpegInput();
  FfmpegInput(const FfmpegInput&) = delete;
  FfmpegInput& operator=(const FfmpegInput&) = delete;

  AVStream& stream() const { return *stream_; }
  const std::string& name() const { return input_.name; }
  const char* container() const { return format_->iformat->name; }
  const std::vector<ShownFrame>& frames() const { return frames_; }
  // Whether packets tell when they are shown. Otherwise frames are known by their number alone.
  bool timed() const { return timed_; }
  double seconds(int64_t ticks) const;
  AVRational frame_rate() const;
  int orientation() const;  // as EXIF counts them

  // The stream's next packet; false at the end.
  bool next(AVPacket& packet);
  // To a key frame at or before `pts`; false where the container cannot. Whoever calls this checks
  // where it led.
  bool seek(int64_t pts);
  // To the first packet, where seeking may not lead.
  void reopen();

  // Throws Error(kTooLarge) when reading has taken longer than it may.
  void check_time() const;

 private:
  struct Source;
  void open();
  void choose_stream();
  void check_size(const AVStream& stream) const;
  void scan();
  void number_frames();
  void check_whole() const;
  void close();

  VideoInput input_;
  VideoLimits limits_;
  std::chrono::steady_clock::time_point deadline_;
  std::unique_ptr<Source> source_;
  AVIOContext* io_ = nullptr;
  AVFormatContext* format_ = nullptr;
  AVStream* stream_ = nullptr;
  std::vector<ShownFrame> frames_;
  int64_t packets_ = 0;
  bool timed_ = true;
  bool broken_ = false;  // reading ended with an error, or a packet's bytes are not all there
};

}  // namespace fovea::media

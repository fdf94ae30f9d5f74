// The container of a video: its packets, and when each of its frames is shown. Bytes come from
// memory or an open file alone; FFmpeg may open nothing by itself. For one thread at a time.
#pragma once

#include <vector>

#include "media/ffmpeg_file.h"
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

  AVStream& stream() const { return *stream_; }
  const std::string& name() const { return input_.name; }
  const char* container() const { return file_.context().iformat->name; }
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
  void check_time() const { file_.check_time(); }

 private:
  void open();
  void choose_stream();
  void check_size(const AVStream& stream) const;
  void scan();
  void number_frames();
  void check_whole() const;

  VideoInput input_;
  VideoLimits limits_;
  FfmpegFile file_;
  AVStream* stream_ = nullptr;
  std::vector<ShownFrame> frames_;
  int64_t packets_ = 0;
  bool timed_ = true;
  bool broken_ = false;  // reading ended with an error, or a packet's bytes are not all there
};

}  // namespace fovea::media

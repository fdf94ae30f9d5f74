// A container of sound or moving pictures behind FFmpeg's demuxers, which may come from anybody.
// Bytes come from memory or an open file alone; FFmpeg may open nothing by itself, and only what a
// caller lists is read. For one thread at a time.
#pragma once

#include <chrono>
#include <memory>
#include <string>

#include "base/file.h"
#include "media/ffmpeg.h"

namespace fovea::media {

// What may be in a file. Lists are FFmpeg's names, with commas between them.
struct FfmpegRules {
  const char* what;        // "video", before messages
  const char* containers;  // demuxers
  const char* decoders;    // for the look that FFmpeg takes at the first packets
  const char* forms;       // what people call the containers: "an MP4, MOV or WebM"
};

// An open file, or bytes where there is none.
struct EncodedFile {
  std::string name;  // for messages
  std::shared_ptr<const std::string> bytes;
  std::shared_ptr<const InputFile> file;
};

class FfmpegFile {
 public:
  // `read_seconds` of the clock are counted from here on. `rules` must outlive it.
  FfmpegFile(EncodedFile file, const FfmpegRules& rules, double read_seconds);
  ~FfmpegFile();
  FfmpegFile(const FfmpegFile&) = delete;
  FfmpegFile& operator=(const FfmpegFile&) = delete;

  // Reads the header, from the first byte again where it was open; throws Error(kInvalidData) for
  // what is in no listed container, as describe() does.
  void open();
  // Looks at the first packets, for what headers do not say.
  void describe();

  AVFormatContext& context() const { return *format_; }
  const std::string& name() const { return file_.name; }

  // The next packet of the stream; false at the end, which `broken` tells from an error.
  bool next(AVPacket& packet, const AVStream& stream, bool& broken);

  // Throws Error(kTooLarge) when reading has taken longer than it may.
  void check_time() const;

 private:
  struct Source;
  [[noreturn]] void fail_format() const;
  void close();

  EncodedFile file_;
  const FfmpegRules& rules_;
  double read_seconds_;
  std::chrono::steady_clock::time_point deadline_;
  std::unique_ptr<Source> source_;
  AVIOContext* io_ = nullptr;
  AVFormatContext* format_ = nullptr;
};

}  // namespace fovea::media

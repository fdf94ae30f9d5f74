#include "media/ffmpeg_input.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/error.h"

namespace fovea::media {
namespace {

// No playlists, no lists of files, no descriptions of streams elsewhere.
constexpr const char* kContainers =
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,gif,apng,mpegts,mpeg,flv,ogg,asf";
// FFmpeg's decoders, for the look that it takes at the first packets; find_decoder() below takes
// the same.
constexpr const char* kDecoders =
    "h264,hevc,vp8,vp9,libdav1d,mpeg4,msmpeg4,mpeg1video,mpeg2video,mjpeg,gif,apng,png,theora,"
    "prores,dnxhd,ffv1,flv,h263,rawvideo";
constexpr FfmpegRules kRules = {
    "video", kContainers, kDecoders,
    "an MP4, MOV, MKV, WebM, AVI, MPEG, FLV, Ogg, GIF, APNG or animated WebP"};

// VP8 keeps pictures that are never shown in packets of their own; the bit says so.
bool is_shown(const AVPacket& packet, AVCodecID codec) {
  if (packet.flags & AV_PKT_FLAG_DISCARD) return false;
  return codec != AV_CODEC_ID_VP8 || packet.size < 1 || (packet.data[0] & 0x10) != 0;
}

}  // namespace

FfmpegInput::FfmpegInput(const VideoInput& input, const VideoLimits& limits)
    : input_(input),
      limits_(limits),
      file_({input.name, input.bytes, input.file}, kRules, limits.decode_seconds) {
  open();
  scan();
  check_whole();
  reopen();
}

void FfmpegInput::reopen() {
  stream_ = nullptr;
  open();
}

void FfmpegInput::open() {
  file_.open();
  // Before FFmpeg looks at frames, which forgets sizes that it cannot take.
  for (unsigned i = 0; i < file_.context().nb_streams; ++i) {
    check_size(*file_.context().streams[i]);
  }
  file_.describe();
  choose_stream();
}

void FfmpegInput::choose_stream() {
  for (unsigned i = 0; i < file_.context().nb_streams; ++i) {
    AVStream* stream = file_.context().streams[i];
    // A cover of a piece of music is no video.
    const bool video = stream->codecpar->codec_type == AVMEDIA_TYPE_VIDEO &&
                       !(stream->disposition & AV_DISPOSITION_ATTACHED_PIC);
    if (video && !stream_) stream_ = stream;
    stream->discard = stream == stream_ ? AVDISCARD_DEFAULT : AVDISCARD_ALL;
  }
  if (!stream_) {
    fail(ErrorKind::kInvalidData, "[video] expected a video stream in '{}' but got none",
         input_.name);
  }
  check_size(*stream_);
  if (stream_->codecpar->width < 1 || stream_->codecpar->height < 1) {
    fail(ErrorKind::kInvalidData, "[video] expected frames with pixels in '{}' but got {}x{}",
         input_.name, stream_->codecpar->width, stream_->codecpar->height);
  }
}

void FfmpegInput::check_size(const AVStream& stream) const {
  const int64_t width = stream.codecpar->width;
  const int64_t height = stream.codecpar->height;
  if (width <= kPictureSideMax && height <= kPictureSideMax &&
      width * height <= limits_.frame_pixels) {
    return;
  }
  fail(ErrorKind::kTooLarge,
       "[video] expected at most {} pixels and {} a side in a frame of '{}' but got {}x{}",
       limits_.frame_pixels, kPictureSideMax, input_.name, width, height);
}

void FfmpegInput::scan() {
  const FfmpegPtr<AVPacket> packet(ffmpeg().av_packet_alloc());
  const bool is_stream = std::strcmp(container(), "mpegts") == 0;
  while (next(*packet)) {
    // Whether the last one's bytes are all there; a recorded stream may end anywhere.
    broken_ = (packet->flags & AV_PKT_FLAG_CORRUPT) != 0 && !is_stream;
    ++packets_;
    if (!is_shown(*packet, stream_->codecpar->codec_id)) continue;
    timed_ = timed_ && packet->pts != AV_NOPTS_VALUE;
    frames_.push_back(
        {packet->pts, packet->dts, packet->duration, (packet->flags & AV_PKT_FLAG_KEY) != 0});
    if (static_cast<int64_t>(frames_.size()) > limits_.frames) {
      fail(ErrorKind::kTooLarge, "[video] expected at most {} frames in '{}' but got more",
           limits_.frames, input_.name);
    }
  }
  if (frames_.empty()) {
    fail(ErrorKind::kInvalidData, "[video] expected at least one frame in '{}' but got none",
         input_.name);
  }
  if (!timed_) return number_frames();
  const auto earlier = [](const ShownFrame& a, const ShownFrame& b) { return a.pts < b.pts; };
  const auto together = [](const ShownFrame& a, const ShownFrame& b) { return a.pts == b.pts; };
  std::stable_sort(frames_.begin(), frames_.end(), earlier);
  // Two fields of one frame may come in two packets.
  frames_.erase(std::unique(frames_.begin(), frames_.end(), together), frames_.end());
}

// Packets come in the order of decoding, which as a row of times is as good as that of showing;
// without such a row frames stand evenly.
void FfmpegInput::number_frames() {
  bool rising = true;
  for (size_t i = 0; i < frames_.size(); ++i) {
    rising = rising && frames_[i].dts != AV_NOPTS_VALUE &&
             (i == 0 || frames_[i].dts > frames_[i - 1].dts);
  }
  const AVRational rate = frame_rate();
  const double ticks = rate.num > 0 ? 1 / (av_q2d(rate) * av_q2d(stream_->time_base)) : 1;
  for (size_t i = 0; i < frames_.size(); ++i) {
    const auto even = static_cast<int64_t>(std::llround(static_cast<double>(i) * ticks));
    frames_[i].pts = rising ? frames_[i].dts : even;
  }
}

void FfmpegInput::check_whole() const {
  const ShownFrame& last = frames_.back();
  const double until = seconds(last.pts - frames_.front().pts);
  if (until > limits_.seconds) {
    fail(ErrorKind::kTooLarge, "[video] expected at most {} s in '{}' but got {:.3f}",
         limits_.seconds, input_.name, until);
  }
  // An MP4 lists its frames apart from their bytes.
  const bool lists_frames = std::strstr(container(), "mp4") != nullptr;
  const bool whole =
      !broken_ && !(lists_frames && packets_ < ffmpeg().avformat_index_get_entries_count(stream_));
  const auto& end = input_.sampling.end;
  if (whole || (end && *end <= until)) return;
  fail(ErrorKind::kInvalidData,
       "[video] expected a whole video in '{}' but it breaks off after {:.3f} s; an end of at most "
       "that takes what is there",
       input_.name, until);
}

double FfmpegInput::seconds(int64_t ticks) const {
  return static_cast<double>(ticks) * av_q2d(stream_->time_base);
}

AVRational FfmpegInput::frame_rate() const {
  return ffmpeg().av_guess_frame_rate(&file_.context(), stream_, nullptr);
}

// The matrix takes (x, y) to (ax + cy, bx + dy), y downwards.
int FfmpegInput::orientation() const {
  size_t size = 0;
  const uint8_t* data = ffmpeg().av_stream_get_side_data(stream_, AV_PKT_DATA_DISPLAYMATRIX, &size);
  if (!data || size < 9 * sizeof(int32_t)) return 1;
  int32_t matrix[9];
  std::memcpy(matrix, data, sizeof matrix);
  const double a = matrix[0];
  const double b = matrix[1];
  const double c = matrix[3];
  const double d = matrix[4];
  const bool swaps = std::abs(b) + std::abs(c) > std::abs(a) + std::abs(d);
  if (!swaps) return a < 0 ? (d < 0 ? 3 : 2) : (d < 0 ? 4 : 1);
  return b > 0 ? (c < 0 ? 6 : 5) : (c < 0 ? 7 : 8);
}

bool FfmpegInput::next(AVPacket& packet) { return file_.next(packet, *stream_, broken_); }

bool FfmpegInput::seek(int64_t pts) {
  return ffmpeg().av_seek_frame(&file_.context(), stream_->index, pts, AVSEEK_FLAG_BACKWARD) >= 0;
}

}  // namespace fovea::media

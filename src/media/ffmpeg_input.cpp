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
constexpr int kStreamsMax = 64;
constexpr int kIoBytes = 1 << 16;

int refuse_to_open(AVFormatContext*, AVIOContext**, const char*, int, AVDictionary**) {
  return AVERROR(EACCES);
}

[[noreturn]] void fail_format(const std::string& name) {
  fail(
      ErrorKind::kInvalidData,
      "[video] expected an MP4, MOV, MKV, WebM, AVI, MPEG, FLV, Ogg, GIF, APNG or animated WebP in "
      "'{}' but got something else",
      name);
}

// VP8 keeps pictures that are never shown in packets of their own; the bit says so.
bool is_shown(const AVPacket& packet, AVCodecID codec) {
  if (packet.flags & AV_PKT_FLAG_DISCARD) return false;
  return codec != AV_CODEC_ID_VP8 || packet.size < 1 || (packet.data[0] & 0x10) != 0;
}

}  // namespace

struct FfmpegInput::Source {
  const std::string* bytes;
  const InputFile* file;
  uint64_t size;
  std::chrono::steady_clock::time_point deadline;
  uint64_t at = 0;

  static int read(void* opaque, uint8_t* to, int count) {
    auto& source = *static_cast<Source*>(opaque);
    if (std::chrono::steady_clock::now() > source.deadline) return AVERROR_EXIT;
    const size_t wanted = std::min<uint64_t>(static_cast<uint64_t>(count),
                                             source.size - std::min(source.at, source.size));
    size_t got = wanted;
    try {
      if (source.file) {
        got = source.file->read_at(source.at, to, wanted);
      } else if (wanted > 0) {
        std::memcpy(to, source.bytes->data() + source.at, wanted);
      }
    } catch (const std::exception&) {
      return AVERROR(EIO);  // through C, no exception goes
    }
    source.at += got;
    return got == 0 ? AVERROR_EOF : static_cast<int>(got);
  }

  static int64_t seek(void* opaque, int64_t offset, int whence) {
    auto& source = *static_cast<Source*>(opaque);
    const auto size = static_cast<int64_t>(source.size);
    if (whence & AVSEEK_SIZE) return size;
    whence &= ~AVSEEK_FORCE;
    if (whence == SEEK_CUR) offset += static_cast<int64_t>(source.at);
    if (whence == SEEK_END) offset += size;
    if (offset < 0 || offset > size) return AVERROR(EINVAL);
    source.at = static_cast<uint64_t>(offset);
    return offset;
  }
};

FfmpegInput::FfmpegInput(const VideoInput& input, const VideoLimits& limits)
    : input_(input),
      limits_(limits),
      deadline_(std::chrono::steady_clock::now() +
                std::chrono::duration_cast<std::chrono::steady_clock::duration>(
                    std::chrono::duration<double>(limits.decode_seconds))) {
  try {
    open();
    scan();
    check_whole();
    reopen();
  } catch (...) {
    close();
    throw;
  }
}

void FfmpegInput::reopen() {
  close();
  source_.reset();
  stream_ = nullptr;
  open();
}

FfmpegInput::~FfmpegInput() { close(); }

void FfmpegInput::close() {
  if (format_) ffmpeg().avformat_close_input(&format_);
  if (io_) {
    ffmpeg().av_free(io_->buffer);
    ffmpeg().avio_context_free(&io_);
  }
}

void FfmpegInput::open() {
  const Ffmpeg& av = ffmpeg();
  source_ = std::make_unique<Source>(
      Source{input_.bytes.get(), input_.file.get(),
             input_.file ? input_.file->size() : uint64_t{input_.bytes->size()}, deadline_});
  auto* buffer = static_cast<unsigned char*>(av.av_malloc(kIoBytes));
  io_ = av.avio_alloc_context(buffer, kIoBytes, 0, source_.get(), Source::read, nullptr,
                              Source::seek);
  format_ = av.avformat_alloc_context();
  format_->pb = io_;
  format_->flags |= AVFMT_FLAG_CUSTOM_IO;
  format_->io_open = refuse_to_open;
  AVDictionary* options = nullptr;
  av.av_dict_set(&options, "format_whitelist", kContainers, 0);
  av.av_dict_set(&options, "codec_whitelist", kDecoders, 0);
  av.av_dict_set(&options, "protocol_whitelist", "none", 0);
  av.av_dict_set(&options, "max_streams", std::to_string(kStreamsMax).c_str(), 0);
  const int opened = av.avformat_open_input(&format_, nullptr, nullptr, &options);
  av.av_dict_free(&options);
  check_time();
  if (opened < 0) fail_format(input_.name);
  // Before FFmpeg looks at frames, which forgets sizes that it cannot take.
  for (unsigned i = 0; i < format_->nb_streams; ++i) check_size(*format_->streams[i]);
  const bool described = av.avformat_find_stream_info(format_, nullptr) >= 0;
  check_time();
  if (!described) fail_format(input_.name);
  choose_stream();
}

void FfmpegInput::choose_stream() {
  for (unsigned i = 0; i < format_->nb_streams; ++i) {
    AVStream* stream = format_->streams[i];
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
  return ffmpeg().av_guess_frame_rate(format_, stream_, nullptr);
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

bool FfmpegInput::next(AVPacket& packet) {
  while (true) {
    ffmpeg().av_packet_unref(&packet);
    const int got = ffmpeg().av_read_frame(format_, &packet);
    check_time();
    if (got < 0) {
      broken_ = broken_ || got != AVERROR_EOF;
      return false;
    }
    if (packet.stream_index == stream_->index) return true;
  }
}

bool FfmpegInput::seek(int64_t pts) {
  return ffmpeg().av_seek_frame(format_, stream_->index, pts, AVSEEK_FLAG_BACKWARD) >= 0;
}

void FfmpegInput::check_time() const {
  if (std::chrono::steady_clock::now() <= deadline_) return;
  fail(ErrorKind::kTooLarge, "[video] expected '{}' to be read within {} s but it takes longer",
       input_.name, limits_.decode_seconds);
}

}  // namespace fovea::media

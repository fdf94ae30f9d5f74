#include "media/ffmpeg_video.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <optional>

#include "base/error.h"
#include "base/thread_pool.h"
#include "media/ffmpeg_input.h"
#include "media/upright.h"

namespace fovea::media {
namespace {

// Decoders keep a few frames for each of their threads.
constexpr int kDecoderThreadsMax = 16;
// A decoder has taken this many frames more than it gave, beside those of its threads: what a seek
// would throw away.
constexpr int kFramesInFlight = 16;
// How far from its time a frame may be that takes the place of one that cannot be decoded.
constexpr double kSubstituteSeconds = 0.25;

constexpr std::array kCodecs = {
    AV_CODEC_ID_H264,       AV_CODEC_ID_HEVC,   AV_CODEC_ID_VP8,       AV_CODEC_ID_VP9,
    AV_CODEC_ID_AV1,        AV_CODEC_ID_MPEG4,  AV_CODEC_ID_MSMPEG4V3, AV_CODEC_ID_MPEG1VIDEO,
    AV_CODEC_ID_MPEG2VIDEO, AV_CODEC_ID_MJPEG,  AV_CODEC_ID_GIF,       AV_CODEC_ID_APNG,
    AV_CODEC_ID_PNG,        AV_CODEC_ID_THEORA, AV_CODEC_ID_PRORES,    AV_CODEC_ID_DNXHD,
    AV_CODEC_ID_FFV1,       AV_CODEC_ID_FLV1,   AV_CODEC_ID_H263,      AV_CODEC_ID_RAWVIDEO};

// A rate whose multiples are the frames' times but for the rounding of the container.
std::optional<double> constant_rate(const FfmpegInput& input, const std::vector<double>& times) {
  const auto count = static_cast<double>(times.size());
  const double tolerance = std::max(0.0015, 1.01 * input.seconds(1));
  const auto fits = [&](double fps) {
    for (size_t i = 0; i < times.size(); ++i) {
      if (std::abs(times[i] - static_cast<double>(i) / fps) > tolerance) return false;
    }
    return true;
  };
  const auto rate = input.frame_rate();
  const double mean = times.back() > 0 ? (count - 1) / times.back() : 0;
  for (const double fps : {rate.den > 0 ? av_q2d(rate) : 0.0, mean}) {
    if (fps > 0 && fits(fps)) return fps;
  }
  return std::nullopt;
}

// RGB of decoded frames, upright.
class Converter {
 public:
  explicit Converter(int orientation) : orientation_(orientation) {}

  Image convert(const AVFrame& frame, const std::string& name) {
    const Ffmpeg& av = ffmpeg();
    const auto format = static_cast<AVPixelFormat>(frame.format);
    scale_.reset(av.sws_getCachedContext(scale_.release(), frame.width, frame.height, format,
                                         frame.width, frame.height, AV_PIX_FMT_RGB24, SWS_BICUBIC,
                                         nullptr, nullptr, nullptr));
    if (!scale_) {
      fail(ErrorKind::kUnsupported,
           "[video] expected pixels that can become RGB in '{}' but got form {}", name,
           frame.format);
    }
    const FfmpegPtr<AVFrame> rgb(av.av_frame_alloc());
    rgb->width = frame.width;
    rgb->height = frame.height;
    rgb->format = AV_PIX_FMT_RGB24;
    // Rows with room behind them, into which the conversion writes.
    if (av.av_frame_get_buffer(rgb.get(), 0) < 0) throw std::bad_alloc();
    set_colours(frame);
    av.sws_scale(scale_.get(), frame.data, frame.linesize, 0, frame.height, rgb->data,
                 rgb->linesize);
    Image image;
    image.size = {frame.width, frame.height};
    const auto row = static_cast<size_t>(frame.width) * 3;
    image.rgb.resize(row * static_cast<size_t>(frame.height));
    for (int y = 0; y < frame.height; ++y) {
      std::memcpy(image.rgb.data() + static_cast<size_t>(y) * row,
                  rgb->data[0] + std::ptrdiff_t{y} * rgb->linesize[0], row);
    }
    return upright(std::move(image), orientation_);
  }

 private:
  // The stream's matrix and range where it tells them; else swscale's, which are BT.601's.
  void set_colours(const AVFrame& frame) {
    const Ffmpeg& av = ffmpeg();
    int* from_matrix = nullptr;
    int* to_matrix = nullptr;
    int from_range = 0;
    int to_range = 0;
    int brightness = 0;
    int contrast = 0;
    int saturation = 0;
    if (av.sws_getColorspaceDetails(scale_.get(), &from_matrix, &from_range, &to_matrix, &to_range,
                                    &brightness, &contrast, &saturation) < 0) {
      return;
    }
    const int* matrix = frame.colorspace == AVCOL_SPC_UNSPECIFIED
                            ? from_matrix
                            : av.sws_getCoefficients(frame.colorspace);
    if (frame.color_range != AVCOL_RANGE_UNSPECIFIED) {
      from_range = frame.color_range == AVCOL_RANGE_JPEG;
    }
    av.sws_setColorspaceDetails(scale_.get(), matrix, from_range, to_matrix, to_range, brightness,
                                contrast, saturation);
  }

  int orientation_;
  FfmpegPtr<SwsContext> scale_;
};

class FfmpegVideo : public Video {
 public:
  FfmpegVideo(const VideoInput& input, const VideoLimits& limits)
      : limits_(limits), input_(input, limits), converter_(input_.orientation()) {
    const auto& frames = input_.frames();
    const AVCodecParameters& codec = *input_.stream().codecpar;
    info_.size = upright_size({codec.width, codec.height}, input_.orientation());
    info_.container = input_.container();
    info_.codec = ffmpeg().avcodec_get_name(codec.codec_id);
    for (const auto& frame : frames) {
      info_.times.push_back(input_.seconds(frame.pts - frames.front().pts));
    }
    const auto count = static_cast<double>(frames.size());
    const double last = info_.times.back();
    const auto rate = constant_rate(input_, info_.times);
    info_.constant_rate = rate.has_value() || frames.size() == 1;
    info_.fps = rate ? *rate : last > 0 ? (count - 1) / last : 1;
    const double behind = input_.seconds(frames.back().duration);
    info_.duration = rate ? count / info_.fps : last + (behind > 0 ? behind : 1 / info_.fps);
    // Without the rounding of the container.
    for (size_t i = 0; rate && i < info_.times.size(); ++i) {
      info_.times[i] = static_cast<double>(i) / info_.fps;
    }
    open_decoder();
  }

  void read(std::span<const int> frames, const Take& take) override {
    wanted_.assign(frames.begin(), frames.end());
    std::optional<Image> image;
    for (size_t place = 0; place < frames.size(); ++place) {
      if (place == 0 || frames[place] != frames[place - 1]) image = decode(frames[place]);
      take(place, *image);
    }
  }

 private:
  void open_decoder();
  Image decode(int number);
  Image shown(int number, const AVFrame& frame, int got);
  bool receive();
  void feed();
  void go_to(int number);
  void restart();
  int number_of(const AVFrame& frame) const;
  [[noreturn]] void fail_frame(int number) const;

  VideoLimits limits_;
  FfmpegInput input_;
  Converter converter_;
  FfmpegPtr<AVCodecContext> decoder_;
  FfmpegPtr<AVPacket> packet_;
  FfmpegPtr<AVFrame> frame_;  // the last that came out
  std::vector<int> wanted_;
  int last_ = -1;     // its number
  int counted_ = -1;  // frames that came out since the first packet, where numbers are all there is
  bool ended_ = false;  // the decoder has been told that no packet follows
};

void FfmpegVideo::open_decoder() {
  const Ffmpeg& av = ffmpeg();
  const AVCodecParameters& parameters = *input_.stream().codecpar;
  const bool listed =
      std::find(kCodecs.begin(), kCodecs.end(), parameters.codec_id) != kCodecs.end();
  const AVCodec* codec = listed ? av.avcodec_find_decoder(parameters.codec_id) : nullptr;
  if (!codec) {
    fail(ErrorKind::kUnsupported,
         "[video] expected H.264, HEVC, VP8, VP9, AV1 or another listed codec in '{}' but got '{}'",
         input_.name(), info_.codec);
  }
  decoder_.reset(av.avcodec_alloc_context3(codec));
  packet_.reset(av.av_packet_alloc());
  frame_.reset(av.av_frame_alloc());
  decoder_->pkt_timebase = input_.stream().time_base;
  decoder_->thread_count = std::min(ThreadPool::instance().size(), kDecoderThreadsMax);
  decoder_->max_pixels = limits_.frame_pixels;
  if (av.avcodec_parameters_to_context(decoder_.get(), &parameters) < 0 ||
      av.avcodec_open2(decoder_.get(), codec, nullptr) < 0) {
    fail(ErrorKind::kInvalidData,
         "[video] expected frames in '{}' that '{}' can decode but got none", input_.name(),
         info_.codec);
  }
}

int FfmpegVideo::number_of(const AVFrame& frame) const {
  if (!input_.timed()) return counted_;
  const auto& frames = input_.frames();
  const auto later = [](int64_t pts, const ShownFrame& f) { return pts < f.pts; };
  const auto behind =
      std::upper_bound(frames.begin(), frames.end(), frame.best_effort_timestamp, later);
  return static_cast<int>(behind - frames.begin()) - 1;
}

void FfmpegVideo::feed() {
  const Ffmpeg& av = ffmpeg();
  if (!input_.next(*packet_)) {
    ended_ = true;
    av.avcodec_send_packet(decoder_.get(), nullptr);
    return;
  }
  // Frames that nobody wants and no other frame needs are not decoded.
  const auto& frames = input_.frames();
  const auto later = [&](int number, int64_t pts) {
    return frames[static_cast<size_t>(number)].pts < pts;
  };
  const auto next = std::lower_bound(wanted_.begin(), wanted_.end(), packet_->pts, later);
  const bool wanted =
      next != wanted_.end() && frames[static_cast<size_t>(*next)].pts == packet_->pts;
  decoder_->skip_frame = input_.timed() && !wanted ? AVDISCARD_NONREF : AVDISCARD_DEFAULT;
  // Bad packets are passed over: what matters is whether the wanted frames come out.
  av.avcodec_send_packet(decoder_.get(), packet_.get());
}

// The next frame in frame_, or false at the end.
bool FfmpegVideo::receive() {
  const Ffmpeg& av = ffmpeg();
  while (true) {
    av.av_frame_unref(frame_.get());
    const int got = av.avcodec_receive_frame(decoder_.get(), frame_.get());
    input_.check_time();
    if (got == AVERROR_EOF || (ended_ && got == AVERROR(EAGAIN))) {
      last_ = static_cast<int>(input_.frames().size());
      return false;
    }
    if (got >= 0) {
      ++counted_;
      last_ = number_of(*frame_);
      return true;
    }
    if (!ended_) feed();
  }
}

void FfmpegVideo::restart() {
  last_ = static_cast<int>(input_.frames().size());  // again, should this fail
  input_.reopen();
  ffmpeg().avcodec_flush_buffers(decoder_.get());
  ffmpeg().av_frame_unref(frame_.get());
  last_ = counted_ = -1;
  ended_ = false;
}

// Before the frame, by a key frame where there is one ahead that is worth it.
void FfmpegVideo::go_to(int number) {
  const auto& frames = input_.frames();
  if (number < last_) restart();
  if (!input_.timed()) return;
  int key = number;
  while (key > last_ && !frames[static_cast<size_t>(key)].key) --key;
  if (key - last_ <= decoder_->thread_count + kFramesInFlight) return;
  if (!input_.seek(frames[static_cast<size_t>(key)].pts)) return;
  ffmpeg().avcodec_flush_buffers(decoder_.get());
  if (receive() && last_ <= number) return;
  restart();  // the container led elsewhere
}

void FfmpegVideo::fail_frame(int number) const {
  fail(ErrorKind::kInvalidData,
       "[video] expected frame {} of {} at {:.3f} s in '{}' but it cannot be decoded", number + 1,
       info_.times.size(), info_.times[static_cast<size_t>(number)], input_.name());
}

// Frame `number`, in whose place stands the frame of number `got`.
Image FfmpegVideo::shown(int number, const AVFrame& frame, int got) {
  const double late =
      info_.times[static_cast<size_t>(number)] - info_.times[static_cast<size_t>(std::max(got, 0))];
  const bool large = int64_t{frame.width} * frame.height > limits_.frame_pixels;
  if (large || std::abs(late) > kSubstituteSeconds) fail_frame(number);
  return converter_.convert(frame, input_.name());
}

// The frame itself, or the last one before it, as a player would show.
Image FfmpegVideo::decode(int number) {
  go_to(number);
  const FfmpegPtr<AVFrame> before(ffmpeg().av_frame_alloc());
  int before_number = -1;
  do {
    if (!frame_->data[0]) continue;
    const bool first = !before->data[0];
    if (last_ == number || (last_ > number && first)) return shown(number, *frame_, last_);
    if (last_ > number) return shown(number, *before, before_number);
    ffmpeg().av_frame_unref(before.get());
    ffmpeg().av_frame_move_ref(before.get(), frame_.get());
    before_number = last_;
  } while (receive());
  if (!before->data[0]) fail_frame(number);
  return shown(number, *before, before_number);
}

}  // namespace

std::unique_ptr<Video> open_ffmpeg_video(const VideoInput& input, const VideoLimits& limits) {
  return std::make_unique<FfmpegVideo>(input, limits);
}

}  // namespace fovea::media

#include "media/sound.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <limits>

#include "base/error.h"
#include "media/ffmpeg_file.h"

namespace fovea::media {
namespace {

// No playlists, no lists of files, no descriptions of streams elsewhere.
constexpr const char* kContainers =
    "wav,w64,flac,mp3,aac,ogg,mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,aiff,au,caf,avi,mpegts,mpeg,"
    "flv,"
    "asf";
// FFmpeg's decoders, for the look that it takes at the first packets; those of kCodecs.
constexpr const char* kDecoders =
    "pcm_s16le,pcm_s16be,pcm_s24le,pcm_s24be,pcm_s32le,pcm_s32be,pcm_u8,pcm_s8,pcm_f32le,pcm_f32be,"
    "pcm_f64le,pcm_f64be,pcm_alaw,pcm_mulaw,adpcm_ms,adpcm_ima_wav,flac,mp3float,mp3,mp2float,mp2,"
    "aac,vorbis,opus,alac,ac3,eac3,wmav1,wmav2";
constexpr std::array kCodecs = {
    AV_CODEC_ID_PCM_S16LE, AV_CODEC_ID_PCM_S16BE, AV_CODEC_ID_PCM_S24LE, AV_CODEC_ID_PCM_S24BE,
    AV_CODEC_ID_PCM_S32LE, AV_CODEC_ID_PCM_S32BE, AV_CODEC_ID_PCM_U8,    AV_CODEC_ID_PCM_S8,
    AV_CODEC_ID_PCM_F32LE, AV_CODEC_ID_PCM_F32BE, AV_CODEC_ID_PCM_F64LE, AV_CODEC_ID_PCM_F64BE,
    AV_CODEC_ID_PCM_ALAW,  AV_CODEC_ID_PCM_MULAW, AV_CODEC_ID_ADPCM_MS,  AV_CODEC_ID_ADPCM_IMA_WAV,
    AV_CODEC_ID_FLAC,      AV_CODEC_ID_MP3,       AV_CODEC_ID_MP2,       AV_CODEC_ID_AAC,
    AV_CODEC_ID_VORBIS,    AV_CODEC_ID_OPUS,      AV_CODEC_ID_ALAC,      AV_CODEC_ID_AC3,
    AV_CODEC_ID_EAC3,      AV_CODEC_ID_WMAV1,     AV_CODEC_ID_WMAV2};
constexpr FfmpegRules kRules = {"audio", kContainers, kDecoders,
                                "a WAV, FLAC, MP3, Ogg, M4A, AIFF, WebM or another listed form"};
// What a header's length may have more than the samples: what encoders put before and behind.
constexpr double kHeaderSlackSeconds = 0.15;

constexpr uint32_t kWavBytesUnknown = 0x7FFF0000;
constexpr int kWavChunksMax = 1000;  // before the samples; real files have a few

template <class Sample>
void add_channel(const uint8_t* data, int count, int stride, double zero, double scale,
                 std::vector<double>& sums) {
  const auto* samples = reinterpret_cast<const Sample*>(data);
  for (int i = 0; i < count; ++i) {
    sums[static_cast<size_t>(i)] += (static_cast<double>(samples[i * stride]) - zero) * scale;
  }
}

// One channel of a frame; false for a form of samples that no listed decoder gives.
bool add_channel(const AVFrame& frame, int channel, std::vector<double>& sums) {
  const auto format = static_cast<AVSampleFormat>(frame.format);
  const int channels = frame.ch_layout.nb_channels;
  const bool planar = format >= AV_SAMPLE_FMT_U8P && format != AV_SAMPLE_FMT_S64;
  const int stride = planar ? 1 : channels;
  const uint8_t* plane = frame.extended_data[planar ? channel : 0];
  const auto begin = [&](size_t bytes) {
    return plane + (planar ? 0 : static_cast<size_t>(channel) * bytes);
  };
  const int count = frame.nb_samples;
  switch (format) {
    case AV_SAMPLE_FMT_U8:
    case AV_SAMPLE_FMT_U8P:
      add_channel<uint8_t>(begin(1), count, stride, 128, 1.0 / 128, sums);
      return true;
    case AV_SAMPLE_FMT_S16:
    case AV_SAMPLE_FMT_S16P:
      add_channel<int16_t>(begin(2), count, stride, 0, 1.0 / 32768, sums);
      return true;
    case AV_SAMPLE_FMT_S32:
    case AV_SAMPLE_FMT_S32P:
      add_channel<int32_t>(begin(4), count, stride, 0, 1.0 / 2147483648.0, sums);
      return true;
    case AV_SAMPLE_FMT_FLT:
    case AV_SAMPLE_FMT_FLTP:
      add_channel<float>(begin(4), count, stride, 0, 1, sums);
      return true;
    case AV_SAMPLE_FMT_DBL:
    case AV_SAMPLE_FMT_DBLP:
      add_channel<double>(begin(8), count, stride, 0, 1, sums);
      return true;
    default:
      return false;
  }
}

// The head of a RIFF chunk: its name, and how many bytes follow.
struct WavChunk {
  std::string name;
  uint32_t bytes = 0;

  // Who writes a WAV into a pipe cannot know its length and tells nothing or the largest.
  bool endless() const { return bytes == 0 || bytes >= kWavBytesUnknown; }
};

uint64_t size_of(const SoundInput& input) {
  return input.file ? input.file->size() : input.bytes->size();
}

WavChunk wav_chunk(const SoundInput& input, uint64_t offset) {
  std::array<char, 8> head{};
  if (input.file) {
    input.file->read_at(offset, head.data(), head.size());
  } else if (offset < input.bytes->size()) {
    input.bytes->copy(head.data(), head.size(), static_cast<size_t>(offset));
  }
  WavChunk chunk{{head.data(), 4}, 0};
  std::memcpy(&chunk.bytes, head.data() + 4, sizeof chunk.bytes);
  return chunk;
}

bool is_endless_wav(const SoundInput& input) {
  const auto riff = wav_chunk(input, 0);
  return riff.name == "RIFF" && riff.endless();
}

// FFmpeg tells a cut within a packet, not one between two of them.
bool is_cut_wav(const SoundInput& input) {
  const auto riff = wav_chunk(input, 0);
  if (riff.name != "RIFF" || riff.endless()) return false;
  const uint64_t size = size_of(input);
  uint64_t at = 12;  // behind "RIFF", the length and "WAVE"
  for (int i = 0; i < kWavChunksMax && at + 8 <= size; ++i) {
    const auto chunk = wav_chunk(input, at);
    at += 8;
    if (chunk.name == "data") return !chunk.endless() && at + chunk.bytes > size;
    at += uint64_t{chunk.bytes} + chunk.bytes % 2;
  }
  return false;
}

// Samples of one channel at a rate of their own into those of another.
class Resampler {
 public:
  Resampler(int from, int to) : from_(from), to_(to) {
    if (from == to) return;
    AVChannelLayout mono{};
    ffmpeg().av_channel_layout_default(&mono, 1);
    SwrContext* made = nullptr;
    const int got = ffmpeg().swr_alloc_set_opts2(&made, &mono, AV_SAMPLE_FMT_FLT, to, &mono,
                                                 AV_SAMPLE_FMT_FLT, from, 0, nullptr);
    ffmpeg().av_channel_layout_uninit(&mono);
    context_.reset(made);
    if (got < 0 || ffmpeg().swr_init(made) < 0) throw std::bad_alloc();
  }

  int from() const { return from_; }

  // Of `samples`, or of what was held back where there are none.
  const std::vector<float>& convert(const std::vector<float>& samples) {
    if (!context_) return samples;
    const auto count = static_cast<int>(samples.size());
    const int64_t room = int64_t{count} * to_ / from_ + int64_t{to_} + 256;
    out_.resize(static_cast<size_t>(room));
    auto* to = reinterpret_cast<uint8_t*>(out_.data());
    const auto* from = reinterpret_cast<const uint8_t*>(samples.data());
    const int got = ffmpeg().swr_convert(context_.get(), &to, static_cast<int>(room),
                                         count > 0 ? &from : nullptr, count);
    out_.resize(static_cast<size_t>(std::max(got, 0)));
    return out_;
  }

 private:
  int from_;
  int to_;
  FfmpegPtr<SwrContext> context_;
  std::vector<float> out_;
};

class SoundReader {
 public:
  SoundReader(const SoundInput& input, int rate, const SoundLimits& limits)
      : input_(input),
        limits_(limits),
        file_({input.name, input.bytes, input.file}, kRules, limits.decode_seconds) {
    result_.sound.rate = rate;
    endless_ = is_endless_wav(input);
    cut_ = is_cut_wav(input);
    first_ = std::llround(input.start.value_or(0) * rate);
    last_ = input.end ? std::llround(*input.end * rate) : std::numeric_limits<int64_t>::max();
    result_.start = static_cast<double>(first_) / rate;
  }

  DecodedSound read() {
    open();
    while (!enough() && receive()) take();
    if (!enough() && resampler_) put(resampler_->convert({}));
    check_whole();
    return std::move(result_);
  }

 private:
  void open();
  void open_decoder();
  bool receive();
  void take();
  void check_frame() const;
  void put(const std::vector<float>& samples);
  void check_whole() const;
  bool enough() const { return at_ >= last_; }

  const SoundInput& input_;
  SoundLimits limits_;
  FfmpegFile file_;
  DecodedSound result_;
  int64_t first_ = 0;  // of the samples that are taken, and the one behind the last
  int64_t last_ = 0;
  int64_t at_ = 0;              // samples that came
  double decoded_seconds_ = 0;  // of the file
  double header_seconds_ = -1;  // that its header tells; -1: nothing
  bool broken_ = false;         // reading ended with an error, or the last packet is not whole
  bool endless_ = false;        // a header that cannot tell the length
  bool cut_ = false;            // fewer bytes than the header tells
  bool ended_ = false;
  AVStream* stream_ = nullptr;
  FfmpegPtr<AVCodecContext> decoder_;
  FfmpegPtr<AVPacket> packet_;
  FfmpegPtr<AVFrame> frame_;
  std::optional<Resampler> resampler_;
  std::vector<double> sums_;
  std::vector<float> mono_;
};

void SoundReader::open() {
  file_.open();
  const AVFormatContext& context = file_.context();
  const auto header_seconds = [&](const AVStream& stream) {
    if (stream.duration == AV_NOPTS_VALUE || stream.duration <= 0) return -1.0;
    return static_cast<double>(stream.duration) * av_q2d(stream.time_base);
  };
  std::vector<double> told;  // before FFmpeg guesses
  for (unsigned i = 0; i < context.nb_streams; ++i) {
    told.push_back(header_seconds(*context.streams[i]));
  }
  file_.describe();
  for (unsigned i = 0; i < context.nb_streams; ++i) {
    AVStream* stream = context.streams[i];
    const bool sound = stream->codecpar->codec_type == AVMEDIA_TYPE_AUDIO;
    if (sound && !stream_) {
      stream_ = stream;
      header_seconds_ = i < told.size() ? told[i] : -1;
    }
    stream->discard = stream == stream_ ? AVDISCARD_DEFAULT : AVDISCARD_ALL;
  }
  if (!stream_) {
    fail(ErrorKind::kInvalidData, "[audio] expected a stream of sound in '{}' but got none",
         input_.name);
  }
  result_.container = context.iformat->name;
  open_decoder();
}

void SoundReader::open_decoder() {
  const Ffmpeg& av = ffmpeg();
  const AVCodecParameters& parameters = *stream_->codecpar;
  result_.codec = av.avcodec_get_name(parameters.codec_id);
  const bool listed =
      std::find(kCodecs.begin(), kCodecs.end(), parameters.codec_id) != kCodecs.end();
  const AVCodec* codec = listed ? av.avcodec_find_decoder(parameters.codec_id) : nullptr;
  if (!codec) {
    fail(ErrorKind::kUnsupported,
         "[audio] expected PCM, FLAC, MP3, AAC, Vorbis, Opus, ALAC or another listed codec in '{}' "
         "but got '{}'",
         input_.name, result_.codec);
  }
  decoder_.reset(av.avcodec_alloc_context3(codec));
  packet_.reset(av.av_packet_alloc());
  frame_.reset(av.av_frame_alloc());
  decoder_->pkt_timebase = stream_->time_base;
  decoder_->thread_count = 1;
  if (av.avcodec_parameters_to_context(decoder_.get(), &parameters) < 0 ||
      av.avcodec_open2(decoder_.get(), codec, nullptr) < 0) {
    fail(ErrorKind::kInvalidData,
         "[audio] expected sound in '{}' that '{}' can decode but got none", input_.name,
         result_.codec);
  }
}

// The next frame in frame_, or false at the end.
bool SoundReader::receive() {
  const Ffmpeg& av = ffmpeg();
  while (true) {
    av.av_frame_unref(frame_.get());
    const int got = av.avcodec_receive_frame(decoder_.get(), frame_.get());
    file_.check_time();
    if (got >= 0) return true;
    if (ended_) return false;
    if (got == AVERROR_EOF) return false;
    if (!file_.next(*packet_, *stream_, broken_)) {
      ended_ = true;
      av.avcodec_send_packet(decoder_.get(), nullptr);
      continue;
    }
    broken_ = (packet_->flags & AV_PKT_FLAG_CORRUPT) != 0 && !endless_;
    if (av.avcodec_send_packet(decoder_.get(), packet_.get()) < 0) ++result_.lost_packets;
  }
}

void SoundReader::check_frame() const {
  const int channels = frame_->ch_layout.nb_channels;
  const int rate = frame_->sample_rate;
  if (rate < kAudioRateMin || rate > kAudioRateMax || channels < 1 ||
      channels > kAudioChannelsMax) {
    fail(
        ErrorKind::kUnsupported,
        "[audio] expected {} to {} samples a second and 1 to {} channels in '{}' but got {} and {}",
        kAudioRateMin, kAudioRateMax, kAudioChannelsMax, input_.name, rate, channels);
  }
}

// The frame's mean over its channels.
void SoundReader::take() {
  check_frame();
  const int channels = frame_->ch_layout.nb_channels;
  const auto count = static_cast<size_t>(frame_->nb_samples);
  if (result_.channels == 0) {
    result_.channels = channels;
    result_.rate = frame_->sample_rate;
  }
  sums_.assign(count, 0);
  for (int channel = 0; channel < channels; ++channel) {
    if (add_channel(*frame_, channel, sums_)) continue;
    fail(ErrorKind::kUnsupported,
         "[audio] expected samples of 8, 16 or 32 bits or floats in '{}' but got form {}",
         input_.name, frame_->format);
  }
  mono_.resize(count);
  for (size_t i = 0; i < count; ++i) {
    const double mean = sums_[i] / channels;
    if (!(std::abs(mean) <= std::numeric_limits<float>::max())) {
      fail(ErrorKind::kInvalidData,
           "[audio] expected finite samples in '{}' but got one that is not at {:.3f} s",
           input_.name, decoded_seconds_ + static_cast<double>(i) / frame_->sample_rate);
    }
    mono_[i] = static_cast<float>(mean);
  }
  if (resampler_ && resampler_->from() != frame_->sample_rate) {
    put(resampler_->convert({}));
    resampler_.reset();
  }
  if (!resampler_) resampler_.emplace(frame_->sample_rate, result_.sound.rate);
  decoded_seconds_ += static_cast<double>(count) / frame_->sample_rate;
  if (count > 0) put(resampler_->convert(mono_));
}

void SoundReader::put(const std::vector<float>& samples) {
  const auto count = static_cast<int64_t>(samples.size());
  const int64_t from = std::clamp<int64_t>(first_ - at_, 0, count);
  const int64_t to = std::clamp<int64_t>(last_ - at_, from, count);
  auto& taken = result_.sound.samples;
  if (static_cast<double>(taken.size()) + static_cast<double>(to - from) >
      limits_.seconds * result_.sound.rate) {
    fail(
        ErrorKind::kTooLarge,
        "[audio] expected at most {} s of sound of '{}' but got more; a start and an end take less",
        limits_.seconds, input_.name);
  }
  taken.insert(taken.end(), samples.begin() + from, samples.begin() + to);
  at_ += count;
}

void SoundReader::check_whole() const {
  if (at_ == 0) {
    fail(ErrorKind::kInvalidData,
         "[audio] expected sound in '{}' but got none that '{}' can decode", input_.name,
         result_.codec);
  }
  const bool whole =
      !broken_ && !cut_ &&
      (header_seconds_ < 0 || decoded_seconds_ + kHeaderSlackSeconds > header_seconds_);
  if (!enough() && !whole) {
    fail(
        ErrorKind::kInvalidData,
        "[audio] expected a whole file in '{}' but it breaks off after {:.3f} s; an end of at most "
        "that takes what is there",
        input_.name, decoded_seconds_);
  }
  if (!result_.sound.samples.empty()) return;
  fail(ErrorKind::kInvalidArgument, "[audio] expected a start before {:.3f} s in '{}' but got {}",
       decoded_seconds_, input_.name, *input_.start);
}

}  // namespace

DecodedSound read_sound(const SoundInput& input, int rate, const SoundLimits& limits) {
  const uint64_t size = size_of(input);
  if (!input.file && size > limits.bytes) {
    fail(ErrorKind::kTooLarge, "[audio] expected at most {} bytes in '{}' but got {}", limits.bytes,
         input.name, size);
  }
  if (size == 0) {
    fail(ErrorKind::kInvalidData, "[audio] expected sound in '{}' but got 0 bytes", input.name);
  }
  if (input.end && *input.end <= input.start.value_or(0)) {
    fail(ErrorKind::kInvalidArgument, "[audio] expected an end after the start, {} s, but got {}",
         input.start.value_or(0), *input.end);
  }
  return SoundReader(input, rate, limits).read();
}

}  // namespace fovea::media

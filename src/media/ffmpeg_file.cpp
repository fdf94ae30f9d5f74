#include "media/ffmpeg_file.h"

#include <algorithm>
#include <cstring>

#include "base/error.h"

namespace fovea::media {
namespace {

constexpr int kStreamsMax = 64;
constexpr int kIoBytes = 1 << 16;

int refuse_to_open(AVFormatContext*, AVIOContext**, const char*, int, AVDictionary**) {
  return AVERROR(EACCES);
}

}  // namespace

struct FfmpegFile::Source {
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

FfmpegFile::FfmpegFile(EncodedFile file, const FfmpegRules& rules, double read_seconds)
    : file_(std::move(file)),
      rules_(rules),
      read_seconds_(read_seconds),
      deadline_(std::chrono::steady_clock::now() +
                std::chrono::duration_cast<std::chrono::steady_clock::duration>(
                    std::chrono::duration<double>(read_seconds))) {}

FfmpegFile::~FfmpegFile() { close(); }

void FfmpegFile::close() {
  if (format_) ffmpeg().avformat_close_input(&format_);
  if (io_) {
    ffmpeg().av_free(io_->buffer);
    ffmpeg().avio_context_free(&io_);
  }
  source_.reset();
}

void FfmpegFile::fail_format() const {
  fail(ErrorKind::kInvalidData, "[{}] expected {} in '{}' but got something else", rules_.what,
       rules_.forms, file_.name);
}

void FfmpegFile::open() {
  close();
  const Ffmpeg& av = ffmpeg();
  source_ = std::make_unique<Source>(
      Source{file_.bytes.get(), file_.file.get(),
             file_.file ? file_.file->size() : uint64_t{file_.bytes->size()}, deadline_});
  auto* buffer = static_cast<unsigned char*>(av.av_malloc(kIoBytes));
  io_ = av.avio_alloc_context(buffer, kIoBytes, 0, source_.get(), Source::read, nullptr,
                              Source::seek);
  format_ = av.avformat_alloc_context();
  format_->pb = io_;
  format_->flags |= AVFMT_FLAG_CUSTOM_IO;
  format_->io_open = refuse_to_open;
  AVDictionary* options = nullptr;
  av.av_dict_set(&options, "format_whitelist", rules_.containers, 0);
  av.av_dict_set(&options, "codec_whitelist", rules_.decoders, 0);
  av.av_dict_set(&options, "protocol_whitelist", "none", 0);
  av.av_dict_set(&options, "max_streams", std::to_string(kStreamsMax).c_str(), 0);
  const int opened = av.avformat_open_input(&format_, nullptr, nullptr, &options);
  av.av_dict_free(&options);
  check_time();
  if (opened < 0) fail_format();
}

void FfmpegFile::describe() {
  const bool described = ffmpeg().avformat_find_stream_info(format_, nullptr) >= 0;
  check_time();
  if (!described) fail_format();
}

bool FfmpegFile::next(AVPacket& packet, const AVStream& stream, bool& broken) {
  while (true) {
    ffmpeg().av_packet_unref(&packet);
    const int got = ffmpeg().av_read_frame(format_, &packet);
    check_time();
    if (got < 0) {
      broken = broken || got != AVERROR_EOF;
      return false;
    }
    if (packet.stream_index == stream.index) return true;
  }
}

void FfmpegFile::check_time() const {
  if (std::chrono::steady_clock::now() <= deadline_) return;
  fail(ErrorKind::kTooLarge, "[{}] expected '{}' to be read within {} s but it takes longer",
       rules_.what, file_.name, read_seconds_);
}

}  // namespace fovea::media

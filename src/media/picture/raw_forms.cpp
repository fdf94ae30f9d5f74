// BMP, PNM and QOI through FFmpeg's decoders, which are loaded with the first of them.
#include <array>
#include <cctype>

#include "base/error.h"
#include "core/limits.h"
#include "media/ffmpeg.h"
#include "media/picture/decoders.h"

namespace fovea::media::picture {
namespace {

uint32_t little(std::string_view bytes, size_t at, size_t count) {
  uint32_t value = 0;
  for (size_t i = count; i-- > 0;) {
    const uint32_t byte = at + i < bytes.size() ? static_cast<uint8_t>(bytes[at + i]) : 0;
    value = value << 8 | byte;
  }
  return value;
}

uint32_t big(std::string_view bytes, size_t at) {
  uint32_t value = 0;
  for (size_t i = 0; i < 4; ++i) {
    value = value << 8 | (at + i < bytes.size() ? static_cast<uint8_t>(bytes[at + i]) : 0);
  }
  return value;
}

// The bytes with what FFmpeg reads behind an end.
struct Padded {
  explicit Padded(const std::string& text) : bytes(text), size(text.size()) {
    bytes.resize(size + AV_INPUT_BUFFER_PADDING_SIZE, '\0');
  }
  std::string bytes;
  size_t size;
};

struct Names {
  const char* format;  // for errors
  AVCodecID codec;
};

FfmpegPtr<AVFrame> decode_frame(const MediaBytes& media, const Names& names) {
  const auto& f = ffmpeg();
  const AVCodec* codec = f.avcodec_find_decoder(names.codec);
  if (!codec) {
    fail(ErrorKind::kUnsupported, "[picture] expected FFmpeg's decoder of {} for '{}' but got none",
         names.format, media.name);
  }
  const FfmpegPtr<AVCodecContext> context(f.avcodec_alloc_context3(codec));
  const FfmpegPtr<AVPacket> packet(f.av_packet_alloc());
  FfmpegPtr<AVFrame> frame(f.av_frame_alloc());
  context->max_pixels = kPicturePixelsMax;
  context->thread_count = 1;
  context->err_recognition = AV_EF_EXPLODE;
  Padded padded(media.bytes);
  packet->data = reinterpret_cast<uint8_t*>(padded.bytes.data());
  packet->size = static_cast<int>(padded.size);
  if (f.avcodec_open2(context.get(), codec, nullptr) < 0 ||
      f.avcodec_send_packet(context.get(), packet.get()) < 0 ||
      f.avcodec_receive_frame(context.get(), frame.get()) < 0) {
    fail_decoding(media.name, names.format, "a broken or cut picture");
  }
  return frame;
}

// A pixel's channels from its bytes.
struct Pixel {
  uint8_t r = 0, g = 0, b = 0, a = 255;
};

uint8_t scaled(uint32_t value, uint32_t most) {
  return static_cast<uint8_t>((value & most) * 255 / most);
}

Pixel grey(uint8_t value) { return {value, value, value, 255}; }

// The pixel x of a row, or of a palette's indices.
using Read = Pixel (*)(const uint8_t* row, size_t x, const uint32_t* palette);

Pixel of_palette(const uint8_t* row, size_t x, const uint32_t* palette) {
  const uint32_t argb = palette[row[x]];
  return {static_cast<uint8_t>(argb >> 16), static_cast<uint8_t>(argb >> 8),
          static_cast<uint8_t>(argb), 255};
}

uint32_t word_at(const uint8_t* row, size_t x) {
  return row[2 * x] | static_cast<uint32_t>(row[2 * x + 1]) << 8;
}

Pixel of_rgb555(const uint8_t* row, size_t x, const uint32_t*) {
  const uint32_t v = word_at(row, x);
  return {scaled(v >> 10, 31), scaled(v >> 5, 31), scaled(v, 31), 255};
}

Pixel of_rgb565(const uint8_t* row, size_t x, const uint32_t*) {
  const uint32_t v = word_at(row, x);
  return {scaled(v >> 11, 31), scaled(v >> 5, 63), scaled(v, 31), 255};
}

struct Form {
  AVPixelFormat format;
  Read read;
};

// Of 16 bits a channel the high byte is taken.
constexpr std::array kForms = {
    Form{AV_PIX_FMT_PAL8, of_palette},
    Form{AV_PIX_FMT_RGB555LE, of_rgb555},
    Form{AV_PIX_FMT_RGB565LE, of_rgb565},
    Form{AV_PIX_FMT_GRAY8,
         [](const uint8_t* row, size_t x, const uint32_t*) { return grey(row[x]); }},
    Form{AV_PIX_FMT_GRAY16BE,
         [](const uint8_t* row, size_t x, const uint32_t*) { return grey(row[2 * x]); }},
    Form{AV_PIX_FMT_GRAY16LE,
         [](const uint8_t* row, size_t x, const uint32_t*) { return grey(row[2 * x + 1]); }},
    Form{AV_PIX_FMT_MONOWHITE,
         [](const uint8_t* row, size_t x, const uint32_t*) {
           return grey(row[x / 8] >> (7 - x % 8) & 1 ? 0 : 255);
         }},
    Form{AV_PIX_FMT_MONOBLACK,
         [](const uint8_t* row, size_t x, const uint32_t*) {
           return grey(row[x / 8] >> (7 - x % 8) & 1 ? 255 : 0);
         }},
    Form{AV_PIX_FMT_RGB24,
         [](const uint8_t* row, size_t x, const uint32_t*) {
           return Pixel{row[3 * x], row[3 * x + 1], row[3 * x + 2], 255};
         }},
    Form{AV_PIX_FMT_BGR24,
         [](const uint8_t* row, size_t x, const uint32_t*) {
           return Pixel{row[3 * x + 2], row[3 * x + 1], row[3 * x], 255};
         }},
    Form{AV_PIX_FMT_RGB48BE,
         [](const uint8_t* row, size_t x, const uint32_t*) {
           return Pixel{row[6 * x], row[6 * x + 2], row[6 * x + 4], 255};
         }},
    Form{AV_PIX_FMT_RGBA,
         [](const uint8_t* row, size_t x, const uint32_t*) {
           return Pixel{row[4 * x], row[4 * x + 1], row[4 * x + 2], row[4 * x + 3]};
         }},
    Form{AV_PIX_FMT_BGRA,
         [](const uint8_t* row, size_t x, const uint32_t*) {
           return Pixel{row[4 * x + 2], row[4 * x + 1], row[4 * x], row[4 * x + 3]};
         }},
    Form{AV_PIX_FMT_BGR0,
         [](const uint8_t* row, size_t x, const uint32_t*) {
           return Pixel{row[4 * x + 2], row[4 * x + 1], row[4 * x], 255};
         }},
};

Decoded decode(const MediaBytes& media, const Names& names, Size size, bool with_alpha) {
  const auto frame = decode_frame(media, names);
  if (frame->width != size.width || frame->height != size.height) {
    fail_decoding(media.name, names.format, "another size than its header's");
  }
  const Form* form = nullptr;
  for (const auto& f : kForms) form = f.format == frame->format ? &f : form;
  if (!form) {
    fail(ErrorKind::kUnsupported,
         "[picture] expected a usual form of {} in '{}' but got a rare one", names.format,
         media.name);
  }
  Decoded out;
  out.image.size = size;
  out.image.rgb.resize(static_cast<size_t>(3 * size.area()));
  if (with_alpha) out.alpha.resize(static_cast<size_t>(size.area()));
  const auto width = static_cast<size_t>(size.width);
  // A palette's four bytes make a number in the machine's order.
  const auto* palette = reinterpret_cast<const uint32_t*>(frame->data[1]);
  for (int y = 0; y < size.height; ++y) {
    const uint8_t* row = frame->data[0] + int64_t{y} * frame->linesize[0];
    uint8_t* to = out.image.rgb.data() + static_cast<size_t>(y) * width * 3;
    for (size_t x = 0; x < width; ++x, to += 3) {
      const Pixel pixel = form->read(row, x, palette);
      to[0] = pixel.r;
      to[1] = pixel.g;
      to[2] = pixel.b;
      if (with_alpha) out.alpha[static_cast<size_t>(y) * width + x] = pixel.a;
    }
  }
  const bool deep = frame->format == AV_PIX_FMT_GRAY16BE || frame->format == AV_PIX_FMT_GRAY16LE ||
                    frame->format == AV_PIX_FMT_RGB48BE;
  if (deep) out.changes.push_back("16 bits a channel to their high 8");
  return out;
}

Size checked_size(const MediaBytes& media, int64_t width, int64_t height) {
  check_size(media.name, width, height);
  return {static_cast<int>(width), static_cast<int>(height)};
}

// The numbers of a PNM's header; comments run to the end of their line.
class PnmHeader {
 public:
  explicit PnmHeader(std::string_view bytes) : rest_(bytes.substr(2)) {}
  // -1 where there is none.
  int64_t number() {
    skip_space();
    int64_t value = -1;
    while (!rest_.empty() && std::isdigit(static_cast<unsigned char>(rest_[0])) &&
           value < 1 << 24) {
      value = std::max<int64_t>(0, value) * 10 + (rest_[0] - '0');
      rest_.remove_prefix(1);
    }
    return value;
  }
  std::string word() {
    skip_space();
    std::string word;
    while (!rest_.empty() && !std::isspace(static_cast<unsigned char>(rest_[0])) &&
           word.size() < 16) {
      word += rest_[0];
      rest_.remove_prefix(1);
    }
    return word;
  }

 private:
  void skip_space() {
    while (!rest_.empty() &&
           (std::isspace(static_cast<unsigned char>(rest_[0])) || rest_[0] == '#')) {
      const size_t end = rest_[0] == '#' ? rest_.find('\n') : 0;
      rest_.remove_prefix(end == rest_.npos ? rest_.size() : end + 1);
    }
  }
  std::string_view rest_;
};

}  // namespace

Decoded decode_bmp(const MediaBytes& media, bool with_alpha) {
  constexpr size_t kOldHeader = 12;  // its sides are 16-bit
  constexpr uint32_t kBitFields = 3;
  constexpr uint32_t kAlphaFields = 6;
  const std::string_view bytes = media.bytes;
  const bool old = little(bytes, 14, 4) == kOldHeader;
  const size_t width = old ? little(bytes, 18, 2) : little(bytes, 18, 4);
  // Rows from the top down have a negative height.
  const auto height =
      static_cast<int64_t>(static_cast<int32_t>(old ? little(bytes, 20, 2) : little(bytes, 22, 4)));
  const Size size = checked_size(media, static_cast<int64_t>(width), std::abs(height));
  const uint32_t kind = little(bytes, 30, 4);
  const bool has_alpha = !old && (kind == kBitFields || kind == kAlphaFields);
  return decode(media, {"BMP", AV_CODEC_ID_BMP}, size, with_alpha && has_alpha);
}

Decoded decode_pnm(const MediaBytes& media, bool with_alpha) {
  constexpr std::array kCodecs = {AV_CODEC_ID_PBM, AV_CODEC_ID_PGM, AV_CODEC_ID_PPM};
  PnmHeader header(media.bytes);
  int64_t width = -1;
  int64_t height = -1;
  const bool arbitrary = media.bytes[1] == '7';
  if (arbitrary) {
    for (std::string word; (word = header.word()) != "ENDHDR" && !word.empty();) {
      if (word == "WIDTH") width = header.number();
      if (word == "HEIGHT") height = header.number();
    }
  } else {
    width = header.number();
    height = header.number();
  }
  const Size size = checked_size(media, width, height);
  const auto codec =
      arbitrary ? AV_CODEC_ID_PAM : kCodecs[static_cast<size_t>(media.bytes[1] - '1') % 3];
  return decode(media, {"PNM", codec}, size, with_alpha);
}

Decoded decode_qoi(const MediaBytes& media, bool with_alpha) {
  // FFmpeg takes what is missing for repetitions.
  constexpr std::string_view kEnd("\0\0\0\0\0\0\0\x01", 8);
  const Size size = checked_size(media, big(media.bytes, 4), big(media.bytes, 8));
  if (!media.bytes.ends_with(kEnd)) fail_decoding(media.name, "QOI", "no mark of its end");
  return decode(media, {"QOI", AV_CODEC_ID_QOI}, size, with_alpha);
}

}  // namespace fovea::media::picture

#include "media/animated_webp.h"

#include <webp/demux.h>

#include <chrono>

#include "base/error.h"

namespace fovea::media {
namespace {

struct FreeWebp {
  void operator()(WebPDemuxer* d) const { WebPDemuxDelete(d); }
  void operator()(WebPAnimDecoder* d) const { WebPAnimDecoderDelete(d); }
};

class AnimatedWebp : public Video {
 public:
  AnimatedWebp(std::string name, std::string bytes, const VideoLimits& limits)
      : name_(std::move(name)), bytes_(std::move(bytes)), limits_(limits) {
    list_frames();
    rewind();
  }

  void read(std::span<const int> frames, const Take& take) override {
    const auto deadline =
        std::chrono::steady_clock::now() + std::chrono::duration<double>(limits_.decode_seconds);
    for (size_t place = 0; place < frames.size(); ++place) {
      if (frames[place] < last_) rewind();
      while (last_ < frames[place]) {
        if (std::chrono::steady_clock::now() > deadline) {
          fail(ErrorKind::kTooLarge,
               "[video] expected '{}' to be read within {} s but it takes longer", name_,
               limits_.decode_seconds);
        }
        decode_next();
      }
      take(place, frame_);
    }
  }

 private:
  WebPData data() const { return {reinterpret_cast<const uint8_t*>(bytes_.data()), bytes_.size()}; }

  [[noreturn]] void fail_broken() const {
    fail(ErrorKind::kInvalidData, "[video] expected a whole WebP in '{}' but got a broken one",
         name_);
  }

  void list_frames() {
    const WebPData whole = data();
    const std::unique_ptr<WebPDemuxer, FreeWebp> file(WebPDemux(&whole));
    if (!file) fail_broken();
    const int64_t width = WebPDemuxGetI(file.get(), WEBP_FF_CANVAS_WIDTH);
    const int64_t height = WebPDemuxGetI(file.get(), WEBP_FF_CANVAS_HEIGHT);
    const int64_t count = WebPDemuxGetI(file.get(), WEBP_FF_FRAME_COUNT);
    if (width * height > limits_.frame_pixels || count > limits_.frames) {
      fail(ErrorKind::kTooLarge,
           "[video] expected at most {} pixels a frame and {} frames in '{}' but got {}x{} and {}",
           limits_.frame_pixels, limits_.frames, name_, width, height, count);
    }
    WebPIterator frame;
    int64_t ms = 0;
    for (int more = WebPDemuxGetFrame(file.get(), 1, &frame); more;
         more = WebPDemuxNextFrame(&frame)) {
      info_.times.push_back(static_cast<double>(ms) / 1000);
      ms += frame.duration;
    }
    WebPDemuxReleaseIterator(&frame);
    if (info_.times.empty()) fail_broken();
    info_.size = {static_cast<int>(width), static_cast<int>(height)};
    info_.duration = static_cast<double>(ms) / 1000;
    info_.fps = ms > 0 ? static_cast<double>(info_.times.size()) / info_.duration : 1;
    for (size_t i = 0; i < info_.times.size(); ++i) {
      const double even = static_cast<double>(i) / info_.fps;
      info_.constant_rate = info_.constant_rate && std::abs(info_.times[i] - even) < 0.0015;
    }
    info_.container = "webp";
    info_.codec = "webp";
  }

  void rewind() {
    const WebPData whole = data();
    decoder_.reset(WebPAnimDecoderNew(&whole, nullptr));
    if (!decoder_) fail_broken();
    last_ = -1;
  }

  void decode_next() {
    uint8_t* rgba = nullptr;
    int until_ms = 0;
    if (!WebPAnimDecoderGetNext(decoder_.get(), &rgba, &until_ms)) fail_broken();
    ++last_;
    frame_.size = info_.size;
    const auto pixels =
        static_cast<size_t>(info_.size.width) * static_cast<size_t>(info_.size.height);
    frame_.rgb.resize(pixels * 3);
    for (size_t i = 0; i < pixels; ++i) {
      for (size_t c = 0; c < 3; ++c) frame_.rgb[3 * i + c] = rgba[4 * i + c];
    }
  }

  std::string name_;
  std::string bytes_;
  VideoLimits limits_;
  std::unique_ptr<WebPAnimDecoder, FreeWebp> decoder_;
  int last_ = -1;  // the number of
  Image frame_;
};

}  // namespace

bool is_webp(std::string_view head) {
  return head.size() >= 12 && head.starts_with("RIFF") && head.substr(8, 4) == "WEBP";
}

std::unique_ptr<Video> open_animated_webp(std::string name, std::string bytes,
                                          const VideoLimits& limits) {
  return std::make_unique<AnimatedWebp>(std::move(name), std::move(bytes), limits);
}

}  // namespace fovea::media

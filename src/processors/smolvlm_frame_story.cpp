#include <algorithm>
#include <array>
#include <cmath>

#include "base/error.h"
#include "processors/frame_story.h"
#include "processors/video_processor.h"

namespace fovea::processors {
namespace {

constexpr int kFramesStandard = 64;
constexpr double kSkipSeconds = 1;  // at both ends of a long video

class SmolVlmFrameStory : public FrameStory {
 public:
  explicit SmolVlmFrameStory(const Json& config) {
    const Json sampling = config.optional_object("video_sampling");
    frames_ = sampling.get_int("max_frames", config.get_int("num_frames", kFramesStandard));
    fps_ = sampling.get_double("fps", config.get_double("fps", 1));
    require_within(kVideoMaxFrames, frames_, config.where(), ErrorKind::kInvalidData);
    require_within(kVideoFps, fps_, config.where(), ErrorKind::kInvalidData);
  }

  // So many a second, but not more than may be; a long video's first and last second are left out.
  FrameChoice choose(const media::VideoInfo& info, const VideoSampling& wanted,
                     const std::string& name) const override {
    VideoSampling all = wanted;
    all.frames.reset();
    all.fps = kVideoFps.high;
    all.min_frames = 1;
    all.max_frames = kVideoFramesMax;
    const auto part = choose_frames(info, all, standard_sampling(), 1, name).frames;
    const auto total = static_cast<int>(part.size());
    const double fps = wanted.fps.value_or(fps_);
    const int most = wanted.frames.value_or(wanted.max_frames.value_or(frames_));
    const bool whole = total == static_cast<int>(info.times.size());
    const double seconds = whole ? info.duration : total / info.fps;
    const int asked = wanted.frames.value_or(static_cast<int>(std::nearbyint(fps * seconds)));
    const int count =
        std::clamp(std::max(std::min(asked, most), wanted.min_frames.value_or(1)), 1, total);
    int first = 0;
    int last = total - 1;
    if (whole && seconds - 2 * kSkipSeconds > most * fps) {
      first = static_cast<int>(kSkipSeconds * info.fps);
      last = std::min(last, static_cast<int>(total - kSkipSeconds * info.fps));
      if (first >= last) first = 0, last = total - 1;
    }
    FrameChoice choice;
    const double step = count > 1 ? double(last - first) / (count - 1) : 0;
    for (int i = 0; i < count; ++i) {
      const int at = i > 0 && i + 1 == count ? last : static_cast<int>(first + i * step);
      const int frame = part[static_cast<size_t>(at)];
      if (!choice.frames.empty() && choice.frames.back() == frame) continue;
      choice.frames.push_back(frame);
      choice.times.push_back(info.times[static_cast<size_t>(frame)]);
    }
    choice.fps = static_cast<double>(choice.frames.size()) / seconds;
    return choice;
  }

  std::string begin(const FrameChoice& choice, const media::VideoInfo& info) const override {
    const auto seconds = static_cast<int>(info.duration);
    return fmt::format(
        "You are provided the following series of {} frames from a {}:{:02}:{:02} [H:MM:SS] "
        "video.\n",
        number_in_words(static_cast<int>(choice.frames.size())), seconds / 3600, seconds / 60 % 60,
        seconds % 60);
  }

  std::string label(double seconds) const override {
    const auto whole = static_cast<int>(seconds);
    return fmt::format("\nFrame from {:02}:{:02}:", whole / 60, whole % 60);
  }

  std::string end() const override { return "\n\n"; }

 private:
  int frames_;
  double fps_;
};

}  // namespace

std::string number_in_words(int number) {
  static constexpr std::array kSmall = {"zero",    "one",     "two",       "three",    "four",
                                        "five",    "six",     "seven",     "eight",    "nine",
                                        "ten",     "eleven",  "twelve",    "thirteen", "fourteen",
                                        "fifteen", "sixteen", "seventeen", "eighteen", "nineteen"};
  static constexpr std::array kTens = {"twenty", "thirty",  "forty",  "fifty",
                                       "sixty",  "seventy", "eighty", "ninety"};
  if (number < 20) return kSmall[static_cast<size_t>(number)];
  if (number < 100) {
    const std::string tens = kTens[static_cast<size_t>(number / 10 - 2)];
    return number % 10 == 0 ? tens : tens + "-" + number_in_words(number % 10);
  }
  const int unit = number < 1000 ? 100 : 1000;
  std::string words = number_in_words(number / unit) + (unit == 100 ? " hundred" : " thousand");
  const int rest = number % unit;
  if (rest == 0) return words;
  return words + (rest < 100 ? " and " : unit == 1000 ? ", " : " ") + number_in_words(rest);
}

std::unique_ptr<FrameStory> make_smolvlm_frame_story(const Checkpoint& checkpoint) {
  const Json config = video_processor_config(checkpoint);
  return std::make_unique<SmolVlmFrameStory>(config.is_null() ? Json::parse("{}", "config")
                                                              : config);
}

}  // namespace fovea::processors

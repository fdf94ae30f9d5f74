// Qwen2VLVideoProcessor and Qwen3VLVideoProcessor: frames in groups of temporal_patch_size, all of
// one size, which together keep a pixel budget; the last frame is repeated to fill its group.
// Sources: Hugging Face video_processing_qwen3_vl, mlx_vlm/models/qwen3_vl. `pixels` is
// [t * h * w, channels * temporal_patch_size * patch_size^2].
#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "processors/image_processor.h"
#include "processors/qwen_patches.h"
#include "processors/video_processor.h"

namespace fovea::processors {
namespace {

constexpr PixelBudget kBudget = {128 * 32 * 32, 768 * 32 * 32};
constexpr std::string_view kStart = "<|vision_start|>";
constexpr std::string_view kPad = "<|video_pad|>";
constexpr std::string_view kEnd = "<|vision_end|>";

// Both sides at least a patch's, as Hugging Face enlarges slivers.
Size at_least(Size size, int side) {
  if (size.width >= side && size.height >= side) return size;
  const double scale = std::max(double(side) / size.width, double(side) / size.height);
  return {std::max(side, static_cast<int>(size.width * scale)),
          std::max(side, static_cast<int>(size.height * scale))};
}

class QwenVideoProcessor : public VideoProcessor {
 public:
  QwenVideoProcessor(const Json& config, int patch_size, bool timestamps)
      : patches_(config, patch_size, kBudget),
        standard_(standard_sampling()),
        timestamps_(timestamps) {
    standard_.fps = config.get_double("fps", *standard_.fps);
    standard_.min_frames = config.get_int("min_frames", *standard_.min_frames);
    standard_.max_frames = config.get_int("max_frames", *standard_.max_frames);
    require_within(kVideoFps, *standard_.fps, config.where(), ErrorKind::kInvalidData);
    require_within(kVideoMinFrames, *standard_.min_frames, config.where(), ErrorKind::kInvalidData);
    require_within(kVideoMaxFrames, *standard_.max_frames, config.where(), ErrorKind::kInvalidData);
  }

  ProcessedVideo process(media::Video& video, const VideoSampling& wanted,
                         const std::string& name) const override {
    ProcessedVideo out;
    const int temporal = patches_.temporal();
    out.choice = choose_frames(video.info(), wanted, standard_, temporal, name);
    const auto frames = static_cast<int>(out.choice.frames.size());
    const int groups = (frames + temporal - 1) / temporal;
    const Size target =
        patches_.target_size(at_least(video.info().size, patches_.factor()),
                             budget(wanted, groups * temporal), frames, groups * temporal, name);
    const size_t values = patches_.group_values(target);
    const int64_t pixels = groups * static_cast<int64_t>(values / 3);
    const int64_t factor = patches_.factor();
    const int64_t tokens = pixels / (temporal * factor * factor);
    const int64_t marks = timestamps_ ? tokens * int64_t{kPad.size()} : 0;
    require_takeable({pixels, tokens, marks, kVideoPixelsMax}, name);
    out.pixels.data.resize(values * static_cast<size_t>(groups));
    video.read(out.choice.frames, [&](size_t place, const Image& frame) {
      const auto at = static_cast<int>(place);
      const Image used = patches_.resized(frame, target, name);
      require_size(used, target, name);
      const int planes = at + 1 == frames ? temporal - at % temporal : 1;
      patches_.put(used, at % temporal, planes,
                   out.pixels.data.data() + values * (place / static_cast<size_t>(temporal)));
    });
    const int rows = target.height / patches_.patch();
    const int columns = target.width / patches_.patch();
    out.used = target;
    out.grid_thw = {groups, rows, columns};
    out.pixels.shape = {groups * rows * columns,
                        3 * temporal * patches_.patch() * patches_.patch()};
    const int group_tokens = rows * columns / (patches_.merge() * patches_.merge());
    out.tokens = groups * group_tokens;
    out.seconds_per_grid = temporal / out.choice.fps;
    if (timestamps_) mark(out, group_tokens);
    return out;
  }

 private:
  PixelBudget budget(const VideoSampling& wanted, int64_t frames) const {
    PixelBudget budget = patches_.budget();
    budget.max = std::min(budget.max, kVideoPixelsMax);
    if (wanted.max_pixels) budget.max = std::min(budget.max, *wanted.max_pixels * frames);
    if (wanted.min_pixels) budget.min = *wanted.min_pixels * frames;
    budget.min = std::min(budget.min, budget.max);
    return budget;
  }

  static void require_size(const Image& frame, Size size, const std::string& name) {
    if (frame.size == size) return;
    fail(ErrorKind::kInvalidData, "[video] expected frames of {}x{} in '{}' but got {}x{}",
         size.width, size.height, name, frame.size.width, frame.size.height);
  }

  // Before each group, the middle between its first and last frame.
  void mark(ProcessedVideo& out, int group_tokens) const {
    const auto& times = out.choice.times;
    const auto temporal = static_cast<size_t>(patches_.temporal());
    for (size_t first = 0; first < times.size(); first += temporal) {
      const double last = times[std::min(first + temporal, times.size()) - 1];
      out.markup += fmt::format("<{:.1f} seconds>{}", (times[first] + last) / 2, kStart);
      for (int i = 0; i < group_tokens; ++i) out.markup += kPad;
      out.markup += kEnd;
    }
    out.wrapped = fmt::format("{}{}{}", kStart, kPad, kEnd);
  }

  QwenPatches patches_;
  VideoSampling standard_;
  bool timestamps_;
};

std::unique_ptr<VideoProcessor> make(const Checkpoint& checkpoint, int patch_size,
                                     bool timestamps) {
  Json config = video_processor_config(checkpoint);
  if (config.is_null()) config = Json::parse("{}", "video_preprocessor_config.json");
  return std::make_unique<QwenVideoProcessor>(config, patch_size, timestamps);
}

}  // namespace

Json video_processor_config(const Checkpoint& checkpoint) {
  const Json nested = checkpoint.read_json("processor_config.json")["video_processor"];
  if (nested.is_object()) return nested;
  const Json own = checkpoint.read_json("video_preprocessor_config.json");
  return own.is_null() ? checkpoint.read_json("preprocessor_config.json") : own;
}

std::unique_ptr<VideoProcessor> make_qwen2_vl_video_processor(const Checkpoint& checkpoint) {
  return make(checkpoint, 14, false);
}

std::unique_ptr<VideoProcessor> make_qwen3_vl_video_processor(const Checkpoint& checkpoint) {
  return make(checkpoint, 16, true);
}

}  // namespace fovea::processors

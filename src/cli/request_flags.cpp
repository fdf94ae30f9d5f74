#include "cli/request_flags.h"

#include <algorithm>
#include <limits>

#include "base/error.h"
#include "base/number.h"
#include "cli/flag.h"
#include "media/source.h"

namespace fovea::cli {
namespace {

constexpr const char* kDefaultPrompt = "Describe this picture.";
constexpr const char* kDefaultVideoPrompt = "Describe this video.";

std::pair<int32_t, float> parse_bias(const std::string& text) {
  constexpr auto kIdMax = std::numeric_limits<int32_t>::max();
  constexpr auto kBiasMax = std::numeric_limits<float>::max();
  const auto view = std::string_view(text);
  const auto at = view.find('=');
  if (at != std::string_view::npos) {
    const auto id = read_number(view.substr(0, at), 0, kIdMax);
    const auto bias = read_number(view.substr(at + 1), -kBiasMax, kBiasMax);
    if (id && bias) return {*id, *bias};
  }
  fail(ErrorKind::kInvalidArgument, "[--logit-bias] expected ID=BIAS but got '{}'", text);
}

void add_sampling_flags(CLI::App& command, RequestFlags& flags) {
  auto& s = flags.sampling;
  add_number(command, kMaxTokens, s.max_tokens, "Tokens to generate at most");
  add_number(command, kTemperature, s.temperature, "0 is greedy [checkpoint's, else 0]");
  add_number(command, kTopP, s.top_p,
             "Keep the likeliest tokens of this mass; 0 and 1 keep all [checkpoint's, else 1]");
  add_number(command, kTopK, s.top_k, "Keep this many tokens; 0 keeps all [checkpoint's, else 0]");
  add_number(command, kMinP, s.min_p,
             "Drop tokens below this share of the likeliest [checkpoint's, else 0]");
  add_number(command, kRepetitionPenalty, s.repetition_penalty,
             "Divides logits of tokens seen [checkpoint's, else 1]");
  add_number(command, kPresencePenalty, s.presence_penalty, "Subtracted once for tokens seen [0]");
  add_number(command, kFrequencyPenalty, s.frequency_penalty, "Subtracted for every time seen [0]");
  add_texts(command, "--logit-bias", flags.logit_bias,
            "ID=BIAS, added to a token's logit (repeatable)");
  add_number(command, kSeed, s.seed, "Seed of the sampler [random]");
  add_texts(command, "--stop", s.stop, "End before this text (repeatable)");
}

void add_video_flags(CLI::App& command, RequestFlags& flags) {
  auto& v = flags.video_sampling;
  add_texts(command, "--video", flags.videos,
            "Video, or animated GIF, PNG or WebP: as --image (repeatable)");
  add_number(command, kVideoFps, v.fps, "Frames of a video to take each second [checkpoint's, 2]");
  add_number(command, kVideoFrames, v.frames, "Frames to take, instead of --fps");
  add_number(command, kVideoMinFrames, v.min_frames, "Frames at least [checkpoint's, 4]");
  add_number(command, kVideoMaxFrames, v.max_frames,
             "Frames at most [checkpoint's, 768; 16 where a family is given pictures]");
  add_number(command, kVideoStart, v.start, "Take frames from this second on [0]");
  add_number(command, kVideoEnd, v.end, "Take frames up to this second [the last]");
  add_number(command, kVideoMinPixels, v.min_pixels, "Pixels of a resized frame at least");
  add_number(command, kVideoMaxPixels, v.max_pixels, "Pixels of a resized frame at most");
}

void add_source_flags(CLI::App& command, RequestFlags& flags) {
  add_number(command, kFetchSeconds, flags.fetch_seconds,
             "Seconds that a picture or video from the web may take");
  add_number(command, kFetchMegabytes, flags.fetch_megabytes, "Megabytes of it at most");
  add_texts(command, "--allow-private-host", flags.private_hosts,
            "HOST[:PORT] of this machine or a private network that media may come from (* is any)");
}

media::SourcePolicy source_policy(const RequestFlags& flags) {
  auto policy = media::SourcePolicy::command_line();
  policy.fetch_seconds = flags.fetch_seconds;
  policy.fetch_megabytes = flags.fetch_megabytes;
  policy.private_hosts = flags.private_hosts;
  return policy;
}

void check_video_flags(const RequestFlags& flags) {
  const auto& v = flags.video_sampling;
  const bool any = v.fps || v.frames || v.min_frames || v.max_frames || v.start || v.end ||
                   v.min_pixels || v.max_pixels;
  if (any && flags.videos.empty()) {
    fail(ErrorKind::kInvalidArgument,
         "[generate] expected --video with flags that choose its frames but got none");
  }
  if (v.fps && v.frames) {
    fail(ErrorKind::kInvalidArgument, "[generate] expected --fps or --frames but got both");
  }
}

}  // namespace

void add_request_flags(CLI::App& command, RequestFlags& flags) {
  add_text(command, "--prompt", flags.prompt,
           "What to ask [with a picture: \"" + std::string(kDefaultPrompt) + "\"]");
  add_text(command, "--system", flags.system, "System message");
  add_texts(command, "--image", flags.images,
            "Picture or PDF: a path, a URL, - for standard input, a data: URI, @clipboard "
            "(repeatable)");
  add_text(command, "--pages", flags.pages, "Pages of a PDF, like 1-3,5,8- [all]");
  add_number(command, kPdfDpi, flags.dpi, "Dots an inch that a PDF is drawn with");
  add_video_flags(command, flags);
  add_source_flags(command, flags);
  add_choice(
      command, "--colours", {"shown", "stored"}, flags.colours,
      "Pictures as viewers show them (profile to sRGB, over white) or as their numbers stand");
  add_pair(command, kResizeSide, flags.resize_shape,
           "Fit pictures into WIDTH [HEIGHT] pixels first, keeping their shape");
  add_sampling_flags(command, flags);
}

ChatRequest chat_request(const RequestFlags& flags) {
  ChatRequest request;
  if (!flags.prompt && flags.images.empty() && flags.videos.empty()) {
    fail(ErrorKind::kInvalidArgument,
         "[generate] expected --prompt, --image or --video but got none of them");
  }
  if (std::count(flags.images.begin(), flags.images.end(), "-") +
          std::count(flags.videos.begin(), flags.videos.end(), "-") >
      1) {
    fail(ErrorKind::kInvalidArgument,
         "[--image] expected standard input (-) once but it was named twice");
  }
  check_video_flags(flags);
  if (flags.system) {
    request.messages.push_back({"system", {{Part::Kind::kText, *flags.system, -1}}, {}});
  }
  const bool only_videos = flags.images.empty() && !flags.videos.empty();
  const std::string text =
      flags.prompt.value_or(only_videos ? kDefaultVideoPrompt : kDefaultPrompt);
  request.messages.push_back({"user", {{Part::Kind::kText, text, -1}}, {}});
  const auto policy = source_policy(flags);
  for (const auto& image : flags.images) {
    for (auto& picture : media::load_pictures(image, policy, {flags.pages, flags.dpi})) {
      request.images.push_back(std::move(picture));
    }
  }
  for (const auto& video : flags.videos) {
    request.videos.push_back(media::load_video(video, flags.video_sampling, policy));
  }
  if (flags.colours == "stored") request.colours = Colours::kStored;
  if (!flags.resize_shape.empty()) {
    request.resize_shape = Size{flags.resize_shape.front(), flags.resize_shape.back()};
  }
  return request;
}

SamplingParams sampling_params(const RequestFlags& flags) {
  SamplingParams params = flags.sampling;
  for (const auto& text : flags.logit_bias) params.logit_bias.push_back(parse_bias(text));
  return params;
}

}  // namespace fovea::cli

#include "cli/generate_report.h"

#include <algorithm>
#include <cmath>
#include <fstream>

#include "base/format.h"
#include "base/json.h"

namespace fovea::cli {
namespace {

// Of this program alone: getrusage() also counts what ran in the process before exec.
int64_t peak_resident_bytes() {
  std::ifstream status("/proc/self/status");
  std::string word;
  int64_t kilobytes = 0;
  while (status >> word && word != "VmHWM:") continue;
  status >> kilobytes;
  return kilobytes * 1024;
}

double to_thousandths(double value) { return std::round(value * 1000) / 1000; }

JsonObject size_object(Size size) {
  JsonObject object;
  object.set("width", size.width).set("height", size.height);
  return object;
}

// What decoding did, behind what every picture has.
void set_facts(JsonObject& picture, const PictureFacts& facts) {
  JsonArray changes;
  for (const auto& change : facts.changes) changes.push(change);
  picture.set("format", facts.format)
      .set("stored_size", size_object(facts.stored))
      .set("orientation", facts.orientation)
      .set("changes", changes);
  if (facts.page > 0) picture.set("page", facts.page).set("pages", facts.pages);
}

JsonArray picture_list(const std::vector<PictureUsage>& pictures) {
  JsonArray list;
  for (const auto& usage : pictures) {
    JsonObject picture;
    JsonArray shape;
    for (const int size : usage.shape) shape.push(int64_t{size});
    picture.set("original_size", size_object(usage.original))
        .set("used_size", size_object(usage.used))
        .set("tokens", usage.tokens)
        .set("pixel_values", shape);
    set_facts(picture, usage.facts);
    list.push(picture);
  }
  return list;
}

JsonArray video_list(const std::vector<VideoUsage>& videos) {
  JsonArray list;
  for (const auto& usage : videos) {
    JsonArray frames;
    JsonArray times;
    for (const int frame : usage.frames) frames.push(int64_t{frame});
    for (const double time : usage.times) times.push(to_thousandths(time));
    JsonObject video;
    video.set("original_size", size_object(usage.original))
        .set("used_size", size_object(usage.used))
        .set("frames_total", usage.frames_total)
        .set("frames", frames)
        .set("times", times)
        .set("as_pictures", usage.as_pictures)
        .set("tokens", usage.tokens);
    list.push(video);
  }
  return list;
}

JsonObject usage_object(const Usage& usage) {
  JsonObject object;
  object.set("prompt_tokens", usage.prompt_tokens)
      .set("completion_tokens", usage.completion_tokens)
      .set("total_tokens", usage.prompt_tokens + usage.completion_tokens)
      .set("cached_tokens", usage.cached_tokens);
  return object;
}

JsonObject timings_object(const Timings& timings, const Report& report) {
  JsonObject object;
  object.set("prompt_n", timings.prompt_n)
      .set("prompt_ms", to_thousandths(timings.prompt_ms))
      .set("process_ms", to_thousandths(timings.process_ms))
      .set("vision_ms", to_thousandths(timings.vision_ms))
      .set("predicted_n", timings.predicted_n)
      .set("predicted_ms", to_thousandths(timings.predicted_ms))
      .set("predicted_per_second", to_thousandths(timings.predicted_per_second))
      .set("load_ms", to_thousandths(report.load_ms))
      .set("prefill_bytes", static_cast<int64_t>(report.prefill_bytes))
      .set("peak_memory", peak_resident_bytes());
  return object;
}

}  // namespace

std::vector<PictureUsage> picture_usage(const Prompt& prompt) {
  std::vector<PictureUsage> pictures;
  for (const auto& span : prompt.media) {
    if (span.video >= 0) continue;
    pictures.push_back({span.original, span.used, span.count, span.pixels.shape, span.facts});
  }
  return pictures;
}

std::vector<VideoUsage> video_usage(const Prompt& prompt) {
  std::vector<VideoUsage> videos;
  std::vector<int> numbers;  // of the request's videos
  for (const auto& span : prompt.media) {
    if (span.video < 0) continue;
    const auto found = std::find(numbers.begin(), numbers.end(), span.video);
    const auto place = static_cast<size_t>(found - numbers.begin());
    if (found == numbers.end()) {
      numbers.push_back(span.video);
      videos.push_back(
          {span.original, span.used, {}, {}, span.frames_total, 0, span.kind == MediaKind::kImage});
    }
    VideoUsage& usage = videos[place];
    usage.frames.insert(usage.frames.end(), span.frames.begin(), span.frames.end());
    usage.times.insert(usage.times.end(), span.times.begin(), span.times.end());
    usage.tokens += span.count;
  }
  return videos;
}

std::string json_report(const Answer& answer, const Report& report) {
  JsonArray ids;
  for (const int32_t id : answer.token_ids) ids.push(int64_t{id});
  const auto& [reason, usage, timings] = answer.finished;
  JsonObject object;
  object.set("text", answer.text)
      .set("token_ids", ids)
      .set("finish_reason", to_string(reason))
      .set("usage", usage_object(usage))
      .set("timings", timings_object(timings, report))
      .set("images", picture_list(report.pictures))
      .set("videos", video_list(report.videos));
  return object.dump();
}

std::string json_estimate(const generate::MemoryEstimate& estimate) {
  JsonObject object;
  object.set("weights", estimate.weights)
      .set("cache", estimate.cache)
      .set("vision", estimate.vision)
      .set("prompt", estimate.prompt)
      .set("process", estimate.process)
      .set("total", estimate.total());
  if (const auto available = generate::available_memory()) object.set("available", *available);
  return object.dump();
}

void print_estimate(const generate::MemoryEstimate& estimate) {
  const auto row = [](const char* what, int64_t bytes) {
    std::printf("%9.3f GB  %s\n", gigabytes(static_cast<int64_t>(bytes)), what);
  };
  row("weights", estimate.weights);
  row("keys and values of prompt and answer", estimate.cache);
  row("while a picture is encoded", estimate.vision);
  row("while the prompt is processed, after that", estimate.prompt);
  row("this program and the request", estimate.process);
  row("in all", estimate.total());
  const auto available = generate::available_memory();
  if (!available) return;
  row(estimate.total() <= *available ? "available: it fits" : "available: it does not fit",
      *available);
}

void print_heading(std::FILE* out, const std::vector<std::string>& files, const Prompt& prompt) {
  std::vector<std::string> names;
  for (const auto& file : files) {
    names.push_back(file.starts_with("data:") ? "data: URI" : file);
  }
  std::fprintf(out, "==========\nFiles: %s\n\nPrompt: %s\n",
               fmt::format("[{}]", fmt::join(names, ", ")).c_str(), prompt.text.c_str());
}

void print_media(std::FILE* out, const Report& report) {
  for (const auto& usage : report.pictures) {
    const auto& f = usage.facts;
    std::string line =
        fmt::format("Picture: {} of {}x{}", f.format, f.stored.width, f.stored.height);
    if (f.page > 0) line += fmt::format(", page {} of {}", f.page, f.pages);
    if (f.orientation != 1) line += fmt::format(", turned from orientation {}", f.orientation);
    for (const auto& change : f.changes) line += ", " + change;
    line += fmt::format("; used at {}x{} in {} tokens", usage.used.width, usage.used.height,
                        usage.tokens);
    std::fprintf(out, "%s\n", line.c_str());
  }
  for (const auto& usage : report.videos) {
    std::fprintf(
        out, "%s\n",
        fmt::format("Video: {} of {} frames of {}x{}; used at {}x{} in {} tokens",
                    usage.frames.size(), usage.frames_total, usage.original.width,
                    usage.original.height, usage.used.width, usage.used.height, usage.tokens)
            .c_str());
  }
}

void print_statistics(std::FILE* out, const Answer& answer) {
  const auto& t = answer.finished.timings;
  const double prompt_rate = t.prompt_ms > 0 ? t.prompt_n * 1000 / t.prompt_ms : 0;
  if (answer.text.empty()) std::fprintf(out, "No text generated for this prompt\n");
  std::fprintf(out, "==========\nPrompt: %d tokens, %.3f tokens-per-sec\n", t.prompt_n,
               prompt_rate);
  std::fprintf(out, "Generation: %d tokens, %.3f tokens-per-sec\n", t.predicted_n,
               t.predicted_per_second);
  std::fprintf(out, "Peak memory: %.3f GB\n",
               gigabytes(static_cast<int64_t>(peak_resident_bytes())));
}

}  // namespace fovea::cli

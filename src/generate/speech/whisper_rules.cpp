#include "generate/speech/whisper_rules.h"

#include <zlib.h>

#include <algorithm>
#include <cmath>
#include <limits>

namespace fovea::generate {
namespace {

constexpr float kNever = -std::numeric_limits<float>::infinity();

void forbid(std::span<float> logits, int64_t begin, int64_t end) {
  const auto size = static_cast<int64_t>(logits.size());
  for (int64_t i = std::max<int64_t>(begin, 0); i < std::min(end, size); ++i) {
    logits[static_cast<size_t>(i)] = kNever;
  }
}

// Timestamps come in pairs and never fall, the first thing is one, and where all of them together
// are likelier than any text, one must follow.
void apply_timestamp_rules(const WhisperTokens& tokens, std::span<const int32_t> written,
                           int first_timestamp_max, std::span<float> logits) {
  const int64_t first = tokens.timestamps;
  const auto all = static_cast<int64_t>(logits.size());
  const auto is_time = [&](size_t back) { return written[written.size() - back] >= first; };
  forbid(logits, tokens.no_timestamps, tokens.no_timestamps + 1);
  if (written.empty()) {
    forbid(logits, 0, first);
    forbid(logits, first + first_timestamp_max + 1, all);
    return;
  }
  const bool last = is_time(1);
  const bool one_before = written.size() < 2 || is_time(2);
  if (last && one_before) forbid(logits, first, all);
  if (last && !one_before) forbid(logits, 0, tokens.end_of_text);
  const auto newest =
      std::find_if(written.rbegin(), written.rend(), [&](int32_t id) { return id >= first; });
  if (newest != written.rend()) {
    forbid(logits, first, last && !one_before ? *newest : *newest + 1);
  }
  const float top = *std::max_element(logits.begin(), logits.end());
  if (top == kNever) return;
  double times = 0;
  for (auto i = static_cast<size_t>(first); i < logits.size(); ++i) {
    times += std::exp(static_cast<double>(logits[i]) - static_cast<double>(top));
  }
  const float text = *std::max_element(logits.begin(), logits.begin() + first);
  if (std::log(times) + static_cast<double>(top) > static_cast<double>(text)) {
    forbid(logits, 0, first);
  }
}

}  // namespace

void apply_whisper_rules(const WhisperTokens& tokens, std::span<const int32_t> written,
                         bool with_timestamps, int first_timestamp_max, std::span<float> logits) {
  for (const int32_t id : tokens.suppressed) logits[static_cast<size_t>(id)] = kNever;
  if (written.empty()) {
    for (const int32_t id : tokens.suppressed_first) logits[static_cast<size_t>(id)] = kNever;
  }
  if (with_timestamps) {
    apply_timestamp_rules(tokens, written, first_timestamp_max, logits);
  } else {
    forbid(logits, tokens.no_timestamps, static_cast<int64_t>(logits.size()));
  }
}

void log_softmax(std::span<float> logits) {
  const double top = static_cast<double>(*std::max_element(logits.begin(), logits.end()));
  double sum = 0;
  for (const float logit : logits) sum += std::exp(static_cast<double>(logit) - top);
  const double all = top + std::log(sum);
  for (float& logit : logits) logit = static_cast<float>(static_cast<double>(logit) - all);
}

WindowReading read_window(const WhisperTokens& tokens, std::span<const int32_t> written,
                          double seconds) {
  const auto is_time = [&](size_t i) { return written[i] >= tokens.timestamps; };
  const auto time_of = [&](int32_t id) {
    return id < tokens.timestamps ? 0.0 : kTimestampSeconds * (id - tokens.timestamps);
  };
  const size_t count = written.size();
  // The rest of the window is silent where a lone timestamp is the last word.
  const bool lone_end = count >= 2 && is_time(count - 1) && !is_time(count - 2);
  std::vector<size_t> cuts;
  for (size_t i = 1; i < count; ++i) {
    if (is_time(i - 1) && is_time(i)) cuts.push_back(i);
  }
  WindowReading reading;
  reading.seconds_done = seconds;
  if (cuts.empty()) {
    double end = seconds;
    for (const int32_t id : written) {
      if (id > tokens.timestamps) end = time_of(id);
    }
    reading.stretches.push_back({0, std::min(end, seconds), {written.begin(), written.end()}});
    return reading;
  }
  if (lone_end) cuts.push_back(count);
  size_t begin = 0;
  for (const size_t cut : cuts) {
    const auto part = written.subspan(begin, cut - begin);
    reading.stretches.push_back(
        {time_of(part.front()), time_of(part.back()), {part.begin(), part.end()}});
    begin = cut;
  }
  if (!lone_end) reading.seconds_done = time_of(written[begin - 1]);
  return reading;
}

double compression_ratio(const std::string& text) {
  if (text.empty()) return 0;
  uLongf size = ::compressBound(text.size());
  std::vector<Bytef> packed(size);
  ::compress(packed.data(), &size, reinterpret_cast<const Bytef*>(text.data()), text.size());
  return static_cast<double>(text.size()) / static_cast<double>(size);
}

}  // namespace fovea::generate

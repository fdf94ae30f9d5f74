#include "speech/captions.h"

#include <cmath>

#include "base/format.h"
#include "base/json.h"

namespace fovea::speech {
namespace {

std::string trimmed(const std::string& text) {
  constexpr const char* kBlank = " \r\n";
  const size_t first = text.find_first_not_of(kBlank);
  if (first == std::string::npos) return "";
  return text.substr(first, text.find_last_not_of(kBlank) - first + 1);
}

// 01:02:03,450
std::string clock(double seconds, char decimal) {
  const auto all = std::llround(seconds * 1000);
  return fmt::format("{:02}:{:02}:{:02}{}{:03}", all / 3'600'000, all / 60'000 % 60,
                     all / 1000 % 60, decimal, all % 1000);
}

// Without what would end a cue early: an arrow, and a blank line, of returns too.
std::string cue_text(const std::string& text) {
  std::string safe;
  for (char c : trimmed(text)) {
    if (c == '\r') c = '\n';
    if (c == '>' && safe.ends_with("--")) {
      safe += "\xE2\x86\x92";  // an arrow
    } else if (c != '\n' || !safe.ends_with('\n')) {
      safe += c;
    }
  }
  return safe;
}

// WebVTT reads a cue as markup; SRT has no such rule.
std::string vtt_text(const std::string& text) {
  std::string escaped;
  for (const char c : cue_text(text)) {
    if (c == '&') {
      escaped += "&amp;";
    } else if (c == '<') {
      escaped += "&lt;";
    } else {
      escaped += c;
    }
  }
  return escaped;
}

double milliseconds(double seconds) { return std::round(seconds * 1000) / 1000; }

JsonArray words_of(const SpokenSegment& segment) {
  JsonArray words;
  for (const auto& word : segment.words) {
    JsonObject one;
    one.set("word", trimmed(word.text)).set("start", milliseconds(word.start));
    one.set("end", milliseconds(word.end)).set("probability", milliseconds(word.probability));
    words.push(one);
  }
  return words;
}

}  // namespace

std::string as_text(const Transcript& transcript) {
  std::string text;
  for (const auto& segment : transcript.segments) text += trimmed(segment.text) + "\n";
  return text;
}

std::string as_srt(const Transcript& transcript) {
  std::string text;
  for (int number = 1; const auto& segment : transcript.segments) {
    text += fmt::format("{}\n{} --> {}\n{}\n\n", number++, clock(segment.start, ','),
                        clock(segment.end, ','), cue_text(segment.text));
  }
  return text;
}

std::string as_vtt(const Transcript& transcript) {
  std::string text = "WEBVTT\n\n";
  for (const auto& segment : transcript.segments) {
    text += fmt::format("{} --> {}\n{}\n\n", clock(segment.start, '.'), clock(segment.end, '.'),
                        vtt_text(segment.text));
  }
  return text;
}

std::string as_json(const Transcript& transcript) {
  JsonArray segments;
  for (int64_t id = 0; const auto& segment : transcript.segments) {
    JsonObject one;
    one.set("id", id++).set("start", milliseconds(segment.start));
    one.set("end", milliseconds(segment.end)).set("text", segment.text);
    if (!segment.tokens.empty()) {
      JsonArray tokens;
      for (const int32_t token : segment.tokens) tokens.push(static_cast<int64_t>(token));
      one.set("tokens", tokens).set("temperature", segment.temperature);
      one.set("avg_logprob", segment.mean_logprob);
      one.set("compression_ratio", segment.compression_ratio);
      one.set("no_speech_prob", segment.no_speech_probability);
    }
    if (!segment.words.empty()) one.set("words", words_of(segment));
    segments.push(one);
  }
  JsonObject all;
  all.set("text", whole_text(transcript)).set("language", transcript.language);
  all.set("duration", milliseconds(transcript.seconds)).set("segments", segments);
  return all.dump() + "\n";
}

}  // namespace fovea::speech

#include "speech/pocketsphinx.h"

#include <dlfcn.h>

#include <algorithm>
#include <cctype>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <set>

#include "base/error.h"

namespace fovea::speech {
namespace {

constexpr int kRate = 16000;
constexpr double kFrameSeconds = 0.01;
constexpr size_t kEdgeSamples = kRate / 4;
// Speech is cut where it is quiet for so long, and where nobody has paused for longer than this.
constexpr double kPauseSeconds = 0.4;
constexpr double kStretchSecondsMax = 30;

// The part of libpocketsphinx 0.8 (5prealpha) that is called, as its headers declare it: they
// would bring dozens of packages along, and nothing in it is more than a pointer.
struct Library {
  void* (*cmd_ln_init)(void*, const void*, int32_t, ...) = nullptr;
  int (*cmd_ln_free_r)(void*) = nullptr;
  void (*err_set_logfp)(std::FILE*) = nullptr;
  double (*logmath_exp)(void*, int) = nullptr;
  const void* (*ps_args)() = nullptr;
  void* (*ps_init)(void*) = nullptr;
  int (*ps_free)(void*) = nullptr;
  void* (*ps_get_logmath)(void*) = nullptr;
  char* (*ps_lookup_word)(void*, const char*) = nullptr;
  int (*ps_set_jsgf_string)(void*, const char*, const char*) = nullptr;
  int (*ps_set_search)(void*, const char*) = nullptr;
  int (*ps_start_utt)(void*) = nullptr;
  int (*ps_process_raw)(void*, const int16_t*, size_t, int, int) = nullptr;
  int (*ps_end_utt)(void*) = nullptr;
  void* (*ps_seg_iter)(void*) = nullptr;
  void* (*ps_seg_next)(void*) = nullptr;
  const char* (*ps_seg_word)(void*) = nullptr;
  void (*ps_seg_frames)(void*, int*, int*) = nullptr;
  int32_t (*ps_seg_prob)(void*, int32_t*, int32_t*, int32_t*) = nullptr;
};

void* open_library(const char* file) {
  void* library = ::dlopen(file, RTLD_NOW | RTLD_LOCAL);
  if (library) return library;
  fail(ErrorKind::kUnsupported,
       "[speech] expected the library {} (Debian's package libpocketsphinx3), or --model with a "
       "whisper checkpoint, but it cannot be loaded",
       file);
}

template <class Function>
void find(void* library, const char* name, Function& function) {
  function = reinterpret_cast<Function>(::dlsym(library, name));
  if (!function) {
    fail(ErrorKind::kUnsupported, "[speech] expected PocketSphinx 0.8 with '{}' but got another",
         name);
  }
}

Library load_library() {
  void* const base = open_library("libsphinxbase.so.3");
  void* const sphinx = open_library("libpocketsphinx.so.3");
  Library library;
#define FOVEA_FIND(from, name) find(from, #name, library.name)
  FOVEA_FIND(base, cmd_ln_init);
  FOVEA_FIND(base, cmd_ln_free_r);
  FOVEA_FIND(base, err_set_logfp);
  FOVEA_FIND(base, logmath_exp);
  FOVEA_FIND(sphinx, ps_args);
  FOVEA_FIND(sphinx, ps_init);
  FOVEA_FIND(sphinx, ps_free);
  FOVEA_FIND(sphinx, ps_get_logmath);
  FOVEA_FIND(sphinx, ps_lookup_word);
  FOVEA_FIND(sphinx, ps_set_jsgf_string);
  FOVEA_FIND(sphinx, ps_set_search);
  FOVEA_FIND(sphinx, ps_start_utt);
  FOVEA_FIND(sphinx, ps_process_raw);
  FOVEA_FIND(sphinx, ps_end_utt);
  FOVEA_FIND(sphinx, ps_seg_iter);
  FOVEA_FIND(sphinx, ps_seg_next);
  FOVEA_FIND(sphinx, ps_seg_word);
  FOVEA_FIND(sphinx, ps_seg_frames);
  FOVEA_FIND(sphinx, ps_seg_prob);
#undef FOVEA_FIND
  library.err_set_logfp(nullptr);
  return library;
}

const Library& library() {
  static const Library loaded = load_library();
  return loaded;
}

// "hello" of "hello(2)", a word's second pronunciation; empty for silence and noise.
std::string spoken(std::string word) {
  if (word.empty() || word[0] == '<' || word[0] == '[' || word.starts_with("++")) return "";
  return word.substr(0, word.find('('));
}

// Begins and ends of stretches between pauses, in samples.
std::vector<std::pair<size_t, size_t>> stretches(const std::vector<float>& samples) {
  constexpr size_t kFrame = static_cast<size_t>(kRate * kFrameSeconds);
  std::vector<double> power;
  for (size_t at = 0; at < samples.size(); at += kFrame) {
    double sum = 0;
    const size_t end = std::min(at + kFrame, samples.size());
    for (size_t i = at; i < end; ++i) sum += double{samples[i]} * double{samples[i]};
    power.push_back(sum / static_cast<double>(end - at));
  }
  double loudest = 0;
  for (const double p : power) loudest = std::max(loudest, p);
  const double quiet = loudest * 1e-4;  // 40 dB below
  const auto pause = static_cast<size_t>(kPauseSeconds / kFrameSeconds);
  const auto longest = static_cast<size_t>(kStretchSecondsMax / kFrameSeconds);
  std::vector<std::pair<size_t, size_t>> found;
  size_t begin = 0;
  size_t silent = 0;
  for (size_t i = 0; i < power.size(); ++i) {
    silent = power[i] <= quiet ? silent + 1 : 0;
    if (silent != pause && i - begin < longest) continue;
    // In the middle of the pause, so that both sides have some of it.
    const size_t cut = silent >= pause ? i - pause / 2 : i;
    found.emplace_back(begin * kFrame, cut * kFrame);
    begin = cut;
  }
  found.emplace_back(begin * kFrame, samples.size());
  return found;
}

// 16-bit samples with a faint noise and some of it around: the model has heard no perfect silence,
// whose logarithm would drown all else.
std::vector<int16_t> as_recorded(const std::vector<float>& samples, size_t begin, size_t end) {
  constexpr float kNoise = 8;
  std::vector<int16_t> raw;
  uint32_t random = 1;
  const auto put = [&](float sample) {
    random = random * 1664525u + 1013904223u;
    const float noise = kNoise * (static_cast<float>(random >> 8) * 0x1p-23f - 1);
    raw.push_back(static_cast<int16_t>(std::clamp(sample * 32768.0f + noise, -32768.0f, 32767.0f)));
  };
  for (size_t i = 0; i < kEdgeSamples; ++i) put(0);
  for (size_t i = begin; i < end; ++i) put(samples[i]);
  for (size_t i = 0; i < kEdgeSamples; ++i) put(0);
  return raw;
}

std::vector<std::string> words_of(const std::string& line) {
  std::vector<std::string> words;
  std::string word;
  for (const unsigned char c : line + " ") {
    // A letter beyond ASCII stays, so that the dictionary is asked for the whole word.
    if (std::isalnum(c) || c == '\'' || c == '-' || c >= 0x80) {
      word += static_cast<char>(std::tolower(c));
    } else if (!word.empty()) {
      words.push_back(std::move(word));
      word.clear();
    }
  }
  return words;
}

class LoadedSphinx : public Sphinx {
 public:
  explicit LoadedSphinx(const SphinxSettings& settings) {
    const auto& folder = settings.model_folder;
    if (!std::filesystem::exists(folder + "/en-us/mdef")) {
      fail(ErrorKind::kUnsupported,
           "[speech] expected the English model in '{}' (Debian's package pocketsphinx-en-us), or "
           "--model with a whisper checkpoint, but there is none",
           folder);
    }
    const Library& ps = library();
    const bool free = !settings.jsgf && settings.commands.empty();
    const std::string acoustic = folder + "/en-us";
    const std::string words = folder + "/cmudict-en-us.dict";
    const std::string language = folder + "/en-us.lm.bin";
    void* config =
        ps.cmd_ln_init(nullptr, ps.ps_args(), 1, "-hmm", acoustic.c_str(), "-dict", words.c_str(),
                       "-remove_silence", "no", free ? "-lm" : nullptr, language.c_str(), nullptr);
    decoder_ = config ? ps.ps_init(config) : nullptr;
    if (config) ps.cmd_ln_free_r(config);
    if (!decoder_) {
      fail(ErrorKind::kInvalidData, "[speech] expected a PocketSphinx model in '{}'", folder);
    }
    try {
      if (!free) set_grammar(settings);
    } catch (...) {
      ps.ps_free(decoder_);
      throw;
    }
  }
  ~LoadedSphinx() override { library().ps_free(decoder_); }
  LoadedSphinx(const LoadedSphinx&) = delete;
  LoadedSphinx& operator=(const LoadedSphinx&) = delete;

  Transcript transcribe(const Sound& sound, const std::function<bool()>& stop) override {
    if (sound.rate != kRate) {
      fail(ErrorKind::kInvalidArgument, "[speech] expected {} samples a second but got {}", kRate,
           sound.rate);
    }
    Transcript transcript;
    transcript.language = "en";
    transcript.seconds = sound.seconds();
    for (const auto& [begin, end] : stretches(sound.samples)) {
      if (stop && stop()) break;
      auto segment = hear(sound.samples, begin, end);
      if (!segment.words.empty()) transcript.segments.push_back(std::move(segment));
    }
    return transcript;
  }

 private:
  void set_grammar(const SphinxSettings& settings) {
    const Library& ps = library();
    std::string grammar = settings.jsgf.value_or("");
    if (!settings.jsgf) {
      grammar = "#JSGF V1.0;\ngrammar commands;\npublic <command> = ";
      for (size_t i = 0; i < settings.commands.size(); ++i) {
        grammar += (i > 0 ? " | " : "") + settings.commands[i];
        for (const auto& word : words_of(settings.commands[i])) require_known(word);
      }
      grammar += ";\n";
    }
    if (ps.ps_set_jsgf_string(decoder_, "grammar", grammar.c_str()) != 0 ||
        ps.ps_set_search(decoder_, "grammar") != 0) {
      fail(ErrorKind::kInvalidData,
           "[speech] expected a JSGF grammar of English words but PocketSphinx refuses it");
    }
  }

  void require_known(const std::string& word) const {
    char* phones = library().ps_lookup_word(decoder_, word.c_str());
    if (!phones) {
      fail(ErrorKind::kInvalidData,
           "[speech] expected words of the English dictionary but got '{}'", word);
    }
    std::free(phones);
  }

  SpokenSegment hear(const std::vector<float>& samples, size_t begin, size_t end) {
    const Library& ps = library();
    const auto raw = as_recorded(samples, begin, end);
    SpokenSegment segment;
    if (begin == end || ps.ps_start_utt(decoder_) != 0) return segment;
    ps.ps_process_raw(decoder_, raw.data(), raw.size(), 0, 1);
    ps.ps_end_utt(decoder_);
    const double offset = (static_cast<double>(begin) - static_cast<double>(kEdgeSamples)) / kRate;
    void* const logs = ps.ps_get_logmath(decoder_);
    for (void* part = ps.ps_seg_iter(decoder_); part; part = ps.ps_seg_next(part)) {
      const std::string word = spoken(ps.ps_seg_word(part));
      if (word.empty()) continue;
      int first = 0;
      int last = 0;
      ps.ps_seg_frames(part, &first, &last);
      int32_t acoustic = 0;
      int32_t language = 0;
      int32_t back = 0;
      const int32_t log = ps.ps_seg_prob(part, &acoustic, &language, &back);
      const double start = std::max(0.0, offset + first * kFrameSeconds);
      const double until = std::max(start, offset + (last + 1) * kFrameSeconds);
      segment.words.push_back({(segment.words.empty() ? "" : " ") + word, start, until,
                               std::min(1.0, ps.logmath_exp(logs, log))});
      segment.text += segment.words.back().text;
    }
    if (!segment.words.empty()) {
      segment.start = segment.words.front().start;
      segment.end = segment.words.back().end;
    }
    return segment;
  }

  void* decoder_ = nullptr;
};

}  // namespace

SphinxSettings read_grammar(const std::string& text, const std::string& name) {
  SphinxSettings settings;
  if (text.starts_with("#JSGF")) {
    settings.jsgf = text;
    return settings;
  }
  std::string line;
  for (const char c : text + "\n") {
    if (c != '\n') {
      line += c;
      continue;
    }
    const auto words = words_of(line);
    line.clear();
    if (!words.empty()) settings.commands.push_back(fmt::format("{}", fmt::join(words, " ")));
  }
  if (!settings.commands.empty()) return settings;
  fail(ErrorKind::kInvalidData,
       "[--grammar] expected a JSGF grammar or commands, a line each, in '{}' but got neither",
       name);
}

std::unique_ptr<Sphinx> open_sphinx(const SphinxSettings& settings) {
  return std::make_unique<LoadedSphinx>(settings);
}

}  // namespace fovea::speech

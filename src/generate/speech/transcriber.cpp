#include "generate/speech/transcriber.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "base/thread_pool.h"
#include "core/limits.h"
#include "generate/cold_start.h"
#include "generate/speech/window_decoder.h"
#include "generate/speech/word_times.h"
#include "kernels/isa/isa.h"
#include "kernels/numerics.h"
#include "models/audio/whisper_config.h"
#include "processors/audio/sound_features.h"

namespace fovea::generate {
namespace {

constexpr double kRowSeconds = 0.01;
// Above it, the text is not trusted as the next window's context.
constexpr double kTemperatureToTrust = 0.5;

Checkpoint opened(const std::string& model) {
  ThreadPool::instance();
  kernels::isa::table();
  kernels::numerics();
  Checkpoint checkpoint = open_checkpoint(model);
  if (!models::is_recogniser(checkpoint)) {
    fail(ErrorKind::kInvalidArgument,
         "[transcribe] expected a model that turns speech into text, as whisper does, but '{}' is "
         "of type '{}'",
         model, checkpoint.model_type());
  }
  return checkpoint;
}

std::shared_ptr<const models::Model> loaded(const Checkpoint& checkpoint) {
  auto model = models::load_model(checkpoint);
  const auto memory = models::weight_memory(*model);
  read_cold(memory.media, {});
  read_cold(memory.text, {});
  return model;
}

}  // namespace

class Transcriber::Impl {
 public:
  explicit Impl(const std::string& model)
      : checkpoint_(opened(model)),
        config_(models::audio::read_whisper_config(checkpoint_.config)),
        tokenizer_(processors::Tokenizer::load(checkpoint_)),
        decoder_(loaded(checkpoint_), whisper_tokens(checkpoint_, *tokenizer_, config_.vocab_size)),
        heads_(alignment_heads(checkpoint_, config_.decoder_layers,
                               config_.decoder_attention_heads)) {}

  Transcript transcribe(const Sound& sound, const TranscribeOptions& options);

 private:
  // What a transcript goes through, window by window.
  struct Work {
    const TranscribeOptions& options;
    HostTensor rows;  // of the whole sound, and of a window of silence behind it
    int sound_rows = 0;
    std::vector<int32_t> begin;   // the sequence that begins a transcript
    std::vector<int32_t> before;  // tokens of the text so far that count as context
    std::mt19937_64 random;
    Transcript transcript;
  };

  int window_rows() const { return 2 * config_.max_source_positions; }
  HostTensor window(const Work& work, int at) const;
  void detect_language(Work& work);
  int32_t language_token(const std::string& code) const;
  void begin_sequence(Work& work) const;
  std::vector<int32_t> prompt(const Work& work) const;
  WindowAnswer answer(Work& work) const;
  bool good_enough(const WindowAnswer& answer, const TranscribeOptions& options) const;
  std::string text_of(std::span<const int32_t> tokens) const;
  double add_window(Work& work, const WindowAnswer& answer, double offset, double seconds);

  Checkpoint checkpoint_;
  models::audio::WhisperConfig config_;
  std::shared_ptr<processors::Tokenizer> tokenizer_;
  mutable WindowDecoder decoder_;
  std::vector<OneSequenceCache::Head> heads_;
};

HostTensor Transcriber::Impl::window(const Work& work, int at) const {
  const int mels = config_.num_mel_bins;
  HostTensor rows;
  rows.shape = {window_rows(), mels};
  const auto begin = work.rows.data.begin() + std::ptrdiff_t{at} * mels;
  rows.data.assign(begin, begin + std::ptrdiff_t{window_rows()} * mels);
  return rows;
}

int32_t Transcriber::Impl::language_token(const std::string& code) const {
  const auto& languages = decoder_.tokens().languages;
  const auto found = languages.find(code);
  if (found != languages.end()) return found->second;
  std::vector<std::string> codes;
  for (const auto& [known, id] : languages) codes.push_back(known);
  fail(ErrorKind::kInvalidArgument, "[transcribe] expected a language among {} but got '{}'",
       fmt::join(codes, ", "), code);
}

void Transcriber::Impl::detect_language(Work& work) {
  const auto& tokens = decoder_.tokens();
  auto& language = work.transcript.language;
  if (tokens.languages.empty()) {
    language = "en";
    if (work.options.language.value_or("en") != "en" || work.options.translate) {
      fail(ErrorKind::kInvalidArgument,
           "[transcribe] expected English and no translation, since '{}' knows nothing else",
           checkpoint_.name);
    }
    return;
  }
  if (work.options.language) {
    language_token(*work.options.language);
    language = *work.options.language;
    return;
  }
  const auto logits = decoder_.logits_behind({&tokens.start, 1});
  float best = -std::numeric_limits<float>::infinity();
  for (const auto& [code, id] : tokens.languages) {
    if (logits[static_cast<size_t>(id)] <= best) continue;
    best = logits[static_cast<size_t>(id)];
    language = code;
  }
}

void Transcriber::Impl::begin_sequence(Work& work) const {
  const auto& tokens = decoder_.tokens();
  work.begin = {tokens.start};
  if (!tokens.languages.empty()) {
    work.begin.push_back(language_token(work.transcript.language));
    const auto& task = work.options.translate ? tokens.translate : tokens.transcribe;
    if (!task) {
      fail(ErrorKind::kInvalidArgument, "[transcribe] expected '{}' to have a token for the task",
           checkpoint_.name);
    }
    work.begin.push_back(*task);
  }
  if (work.options.timestamps == Timestamps::kNone) work.begin.push_back(tokens.no_timestamps);
}

std::vector<int32_t> Transcriber::Impl::prompt(const Work& work) const {
  std::vector<int32_t> all;
  if (!work.before.empty()) {
    const auto room = static_cast<size_t>(config_.max_target_positions / 2 - 1);
    const size_t count = std::min(work.before.size(), room);
    all.push_back(decoder_.tokens().previous);
    all.insert(all.end(), work.before.end() - static_cast<std::ptrdiff_t>(count),
               work.before.end());
  }
  all.insert(all.end(), work.begin.begin(), work.begin.end());
  return all;
}

bool Transcriber::Impl::good_enough(const WindowAnswer& answer,
                                    const TranscribeOptions& options) const {
  const bool unlikely = answer.mean_logprob < options.logprob_threshold;
  if (unlikely && answer.no_speech_probability > options.no_speech_threshold) return true;
  return !unlikely &&
         compression_ratio(text_of(answer.tokens)) <= options.compression_ratio_threshold;
}

WindowAnswer Transcriber::Impl::answer(Work& work) const {
  const auto all = prompt(work);
  WindowAnswer answer;
  for (const double temperature : work.options.temperatures) {
    answer = decoder_.decode(all, all.size() - work.begin.size(),
                             work.options.timestamps != Timestamps::kNone, temperature, work.random,
                             work.options.stop);
    if (good_enough(answer, work.options)) break;
  }
  return answer;
}

std::string Transcriber::Impl::text_of(std::span<const int32_t> tokens) const {
  std::vector<int32_t> words;
  for (const int32_t id : tokens) {
    if (id < decoder_.tokens().end_of_text) words.push_back(id);
  }
  return tokenizer_->decode(words, true);
}

// Returns the seconds that are done with.
double Transcriber::Impl::add_window(Work& work, const WindowAnswer& answer, double offset,
                                     double seconds) {
  const auto reading = read_window(decoder_.tokens(), answer.tokens, seconds);
  const size_t first = work.transcript.segments.size();
  for (const auto& stretch : reading.stretches) {
    SpokenSegment segment;
    segment.text = text_of(stretch.tokens);
    const bool blank = segment.text.find_first_not_of(" \n") == std::string::npos;
    work.before.insert(work.before.end(), stretch.tokens.begin(), stretch.tokens.end());
    if (blank || (work.options.timestamps != Timestamps::kNone && stretch.start == stretch.end)) {
      continue;
    }
    // A model may dream of times behind the sound's end.
    segment.start = offset + std::min(stretch.start, seconds);
    segment.end = offset + std::min(stretch.end, seconds);
    segment.tokens = stretch.tokens;
    segment.temperature = answer.temperature;
    segment.mean_logprob = answer.mean_logprob;
    segment.compression_ratio = compression_ratio(segment.text);
    segment.no_speech_probability = answer.no_speech_probability;
    work.transcript.segments.push_back(std::move(segment));
  }
  if (work.options.timestamps == Timestamps::kWord) {
    add_word_times(std::span(work.transcript.segments).subspan(first), work.begin,
                   work.transcript.language, offset, seconds, heads_, *tokenizer_, decoder_);
  }
  return reading.seconds_done > 0 ? reading.seconds_done : seconds;
}

Transcript Transcriber::Impl::transcribe(const Sound& sound, const TranscribeOptions& options) {
  if (sound.rate != processors::kSoundRate) {
    fail(ErrorKind::kInvalidArgument, "[transcribe] expected {} samples a second but got {}",
         processors::kSoundRate, sound.rate);
  }
  const auto row_samples = static_cast<size_t>(processors::kSoundRate * kRowSeconds);
  const size_t window_samples = row_samples * static_cast<size_t>(window_rows());
  const size_t length = sound.samples.size();
  // A sound within one window is padded to it, as in training.
  const size_t padded = length <= window_samples ? window_samples : length + window_samples;
  auto features = processors::whisper_features(sound.samples, config_.num_mel_bins, padded);
  Work work{
      options, std::move(features.rows), features.filled, {}, {}, std::mt19937_64(options.seed),
      {}};
  work.transcript.seconds = sound.seconds();
  if (!options.prompt.empty()) {
    work.before = prompt_tokens(options.prompt, *tokenizer_, config_.vocab_size);
  }
  const int last = static_cast<int>(work.rows.data.size()) / config_.num_mel_bins - window_rows();
  int at = 0;
  while (at < work.sound_rows && !(options.stop && options.stop())) {
    decoder_.take(window(work, std::min(at, last)), at == 0 ? options.stage_sink : nullptr);
    if (at == 0) {
      detect_language(work);
      begin_sequence(work);
    }
    const int rows = std::min(window_rows(), work.sound_rows - at);
    const double seconds = rows * kRowSeconds;
    const auto found = answer(work);
    const bool silent = found.no_speech_probability > options.no_speech_threshold &&
                        found.mean_logprob <= options.logprob_threshold;
    const double done = silent ? seconds : add_window(work, found, at * kRowSeconds, seconds);
    if (!options.condition_on_previous_text || found.temperature > kTemperatureToTrust) {
      work.before.clear();
    }
    at += std::max(1, static_cast<int>(std::lround(done / kRowSeconds)));
    if (options.progress) {
      options.progress(std::min(at, work.sound_rows) * kRowSeconds, sound.seconds());
    }
  }
  return std::move(work.transcript);
}

Transcriber::Transcriber(const std::string& model) : impl_(std::make_unique<Impl>(model)) {}
Transcriber::~Transcriber() = default;

Transcript Transcriber::transcribe(const Sound& sound, const TranscribeOptions& options) {
  return impl_->transcribe(sound, options);
}

}  // namespace fovea::generate

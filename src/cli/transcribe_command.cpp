// `fovea transcribe`: speech into text, by a whisper checkpoint or, without one, by PocketSphinx.
#include <CLI/CLI.hpp>
#include <cstdio>
#include <optional>

#include "base/error.h"
#include "base/file.h"
#include "base/thread_pool.h"
#include "cli/commands.h"
#include "cli/flag.h"
#include "cli/interrupt.h"
#include "cli/progress_line.h"
#include "generate/speech/transcriber.h"
#include "media/sound.h"
#include "processors/audio/sound_features.h"
#include "speech/captions.h"
#include "speech/pocketsphinx.h"

namespace fovea::cli {
namespace {

struct Flags {
  std::string file;
  std::optional<std::string> model;
  std::optional<std::string> language;
  std::string task = "transcribe";
  std::string timestamps = "segment";
  std::string format = "text";
  std::optional<std::string> prompt;
  std::optional<std::string> grammar;
  std::optional<double> start;
  std::optional<double> end;
  std::optional<uint64_t> seed;
  std::optional<int> threads;
};

void check(const Flags& flags) {
  if (flags.file.empty()) {
    fail(ErrorKind::kInvalidArgument, "[transcribe] expected a file of sound but got none");
  }
  if (flags.model && flags.grammar) {
    fail(ErrorKind::kInvalidArgument,
         "[transcribe] expected --grammar without --model: a whisper checkpoint takes none");
  }
  if (flags.model) return;
  const char* more = flags.task != "transcribe" ? "--task translate"
                     : flags.prompt             ? "--prompt"
                                                : nullptr;
  if (more) {
    fail(ErrorKind::kInvalidArgument,
         "[transcribe] expected --model with a whisper checkpoint for {} but got none", more);
  }
  if (flags.language.value_or("en") != "en") {
    fail(ErrorKind::kInvalidArgument,
         "[transcribe] expected --model with a whisper checkpoint for '{}', since PocketSphinx's "
         "model is English",
         *flags.language);
  }
}

media::DecodedSound read(const Flags& flags) {
  SoundInput input;
  input.name = flags.file;
  input.start = flags.start;
  input.end = flags.end;
  if (flags.file == "-") {
    input.name = "standard input";
    input.bytes = std::make_shared<const std::string>(read_standard_input(kAudioBytesMax));
  } else if (input.file = InputFile::open(flags.file); !input.file) {
    input.bytes = std::make_shared<const std::string>(read_file(flags.file, kAudioBytesMax));
  }
  const ProgressLine line("Reading the sound");
  return media::read_sound(input, processors::kSoundRate);
}

Transcript by_whisper(const Flags& flags, const Sound& sound) {
  generate::TranscribeOptions options;
  options.language = flags.language;
  options.translate = flags.task == "translate";
  options.prompt = flags.prompt.value_or("");
  options.seed = flags.seed.value_or(0);
  options.timestamps = flags.timestamps == "word"      ? generate::Timestamps::kWord
                       : flags.timestamps == "segment" ? generate::Timestamps::kSegment
                                                       : generate::Timestamps::kNone;
  options.stop = interrupted;
  ProgressLine line("Loading the model");
  generate::Transcriber transcriber(*flags.model);
  line.set("Listening");
  options.progress = [&](double done, double seconds) {
    line.set(fmt::format("Listening: {:.0f} of {:.0f} s", done, seconds));
  };
  return transcriber.transcribe(sound, options);
}

Transcript by_sphinx(const Flags& flags, const Sound& sound) {
  speech::SphinxSettings settings;
  if (flags.grammar) settings = speech::read_grammar(read_file(*flags.grammar), *flags.grammar);
  const ProgressLine line("Listening");
  return speech::open_sphinx(settings)->transcribe(sound, interrupted);
}

void print(const Flags& flags, const Transcript& transcript) {
  std::string text;
  if (flags.format == "json") {
    text = speech::as_json(transcript);
  } else if (flags.format == "srt") {
    text = speech::as_srt(transcript);
  } else if (flags.format == "vtt") {
    text = speech::as_vtt(transcript);
  } else {
    text = speech::as_text(transcript);
  }
  std::fwrite(text.data(), 1, text.size(), stdout);
}

void transcribe(const Flags& flags) {
  watch_interrupts();
  check(flags);
  if (flags.threads) ThreadPool::set_thread_count(*flags.threads);
  const auto decoded = read(flags);
  if (decoded.lost_packets > 0) {
    std::fprintf(stderr, "fovea: %d pieces of '%s' cannot be decoded and are left out\n",
                 decoded.lost_packets, flags.file.c_str());
  }
  hold_interrupts();
  auto transcript =
      flags.model ? by_whisper(flags, decoded.sound) : by_sphinx(flags, decoded.sound);
  for (auto& segment : transcript.segments) {  // times are the file's
    segment.start += decoded.start;
    segment.end += decoded.start;
    for (auto& word : segment.words) {
      word.start += decoded.start;
      word.end += decoded.start;
    }
    if (flags.timestamps != "word") segment.words.clear();
  }
  print(flags, transcript);
  if (interrupted()) throw CLI::RuntimeError(exit_code(ErrorKind::kCancelled));
}

}  // namespace

void add_transcribe_command(CLI::App& program) {
  auto* command = program.add_subcommand("transcribe", "Turn speech into text");
  auto flags = std::make_shared<Flags>();
  command->add_option("FILE", flags->file,
                      "WAV, FLAC, MP3, Ogg, M4A or a video; - is standard input");
  add_text(*command, "--model", flags->model,
           "Whisper checkpoint: a folder, or org/name in the Hugging Face cache [PocketSphinx with "
           "its English model]");
  add_text(*command, "--language", flags->language, "A code such as en [what is heard first]");
  add_choice(*command, "--task", {"transcribe", "translate"}, flags->task,
             "Translate: into English");
  add_choice(*command, "--timestamps", {"none", "segment", "word"}, flags->timestamps,
             "How fine times are; words are in --format json");
  add_choice(*command, "--format", {"text", "json", "srt", "vtt"}, flags->format,
             "Of what is printed");
  add_text(*command, "--prompt", flags->prompt, "What was said before, or words to expect");
  add_text(*command, "--grammar", flags->grammar,
           "What may be said, for PocketSphinx: a file with JSGF, or commands, a line each");
  add_number(*command, kVideoStart, flags->start, "Listen from this second on [0]");
  add_number(*command, kVideoEnd, flags->end, "Listen up to this second [the last]");
  add_number(*command, kSeed, flags->seed, "Of answers at temperatures above 0 [0]");
  add_number(*command, kThreads, flags->threads,
             "Threads for the kernels [FOVEA_THREADS, else the usable physical cores]");
  command->callback([flags] { transcribe(*flags); });
}

}  // namespace fovea::cli

// `fovea speak`: text into sound.
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <optional>

#include "base/error.h"
#include "base/file.h"
#include "cli/commands.h"
#include "cli/flag.h"
#include "speech/voice.h"

namespace fovea::cli {
namespace {

struct Flags {
  std::string text;
  std::optional<std::string> voice;
  std::optional<int> rate;
  std::optional<std::string> output;
};

void speak(const Flags& flags) {
  if (flags.text.empty()) {
    fail(ErrorKind::kInvalidArgument, "[speak] expected a text but got none");
  }
  if (!flags.output && ::isatty(STDOUT_FILENO)) {
    fail(ErrorKind::kInvalidArgument,
         "[speak] expected --output, or a standard output that is no terminal");
  }
  speech::VoiceSettings settings;
  settings.voice = flags.voice.value_or(settings.voice);
  settings.words_per_minute = flags.rate.value_or(settings.words_per_minute);
  const std::string text = flags.text == "-" ? read_standard_input(kPromptBytesMax) : flags.text;
  const Sound sound = speech::make_espeak_voice(settings)->speak(text);
  const std::string wav = speech::wav_bytes(sound);
  if (!flags.output || *flags.output == "-") {
    std::fwrite(wav.data(), 1, wav.size(), stdout);
    return;
  }
  write_file_atomic(*flags.output, wav);
  std::printf("%s: %.2f s\n", flags.output->c_str(), sound.seconds());
}

}  // namespace

void add_speak_command(CLI::App& program) {
  auto* command = program.add_subcommand("speak", "Say a text, as a WAV");
  auto flags = std::make_shared<Flags>();
  command->add_option("TEXT", flags->text, "What to say; - is standard input");
  add_text(*command, "--voice", flags->voice, "Of espeak-ng: a language or a name [en]");
  add_number(*command, kSpeechRate, flags->rate, "Words a minute");
  add_text(*command, "--output", flags->output, "File to write [standard output]");
  command->callback([flags] { speak(*flags); });
}

}  // namespace fovea::cli

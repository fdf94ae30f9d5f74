#include <algorithm>
#include <cctype>
#include <cmath>
#include <utility>

#include "base/error.h"
#include "base/program.h"
#include "core/limits.h"
#include "media/sound.h"
#include "speech/voice.h"

namespace fovea::speech {
namespace {

constexpr const char* kProgram = "espeak-ng";
constexpr int kRate = 22050;  // of its own voices

class EspeakVoice : public Voice {
 public:
  explicit EspeakVoice(const VoiceSettings& settings) : settings_(settings) {
    // Names go to a program: only what names are made of.
    const auto fine = [](unsigned char c) {
      return std::isalnum(c) || c == '-' || c == '+' || c == '_';
    };
    const auto& name = settings.voice;
    if (name.empty() || name.front() == '-' || !std::all_of(name.begin(), name.end(), fine)) {
      fail(ErrorKind::kInvalidArgument, "[speak] expected a voice such as en-us but got '{}'",
           name);
    }
  }

  Sound speak(const std::string& text) override {
    const bool words =
        std::any_of(text.begin(), text.end(), [](unsigned char c) { return !std::isspace(c); });
    if (!words) {
      fail(ErrorKind::kInvalidArgument, "[speak] expected text with words but got none");
    }
    const std::string program = find_program(kProgram);
    if (program.empty()) {
      fail(ErrorKind::kUnsupported,
           "[speak] expected the program espeak-ng (Debian's package espeak-ng) but it is not "
           "installed");
    }
    auto result = run_program({program, "--stdin", "--stdout", "-b", "1", "-v", settings_.voice,
                               "-s", std::to_string(settings_.words_per_minute)},
                              text, limits(), "speak");
    if (result.code != 0 || result.output.size() < 44) {
      const std::string said = result.errors.substr(0, result.errors.find('\n'));
      fail(ErrorKind::kInvalidArgument,
           "[speak] expected espeak-ng to say it with '{}' but got: {}", settings_.voice,
           said.empty() ? fmt::format("exit code {}", result.code) : said);
    }
    SoundInput input;
    input.name = kProgram;
    input.bytes = std::make_shared<const std::string>(std::move(result.output));
    return media::read_sound(input, kRate).sound;
  }

 private:
  // As much sound as is read, which takes minutes to make.
  static ProgramLimits limits() {
    ProgramLimits limits;
    limits.seconds = 600;
    limits.output_bytes = kAudioBytesMax;
    limits.error_bytes = 4096;
    limits.variables = {"ESPEAK_DATA_PATH"};
    return limits;
  }

  VoiceSettings settings_;
};

template <class Number>
void put(std::string& bytes, Number value) {
  for (size_t i = 0; i < sizeof value; ++i) {
    bytes.push_back(static_cast<char>(value >> (8 * i) & 0xFF));
  }
}

}  // namespace

std::unique_ptr<Voice> make_espeak_voice(const VoiceSettings& settings) {
  return std::make_unique<EspeakVoice>(settings);
}

std::string wav_bytes(const Sound& sound) {
  const auto size = static_cast<uint32_t>(2 * sound.samples.size());
  const auto rate = static_cast<uint32_t>(sound.rate);
  std::string bytes = "RIFF";
  put(bytes, size + 36);
  bytes += "WAVEfmt ";
  put(bytes, uint32_t{16});
  put(bytes, uint16_t{1});  // PCM
  put(bytes, uint16_t{1});  // one channel
  put(bytes, rate);
  put(bytes, 2 * rate);
  put(bytes, uint16_t{2});
  put(bytes, uint16_t{16});
  bytes += "data";
  put(bytes, size);
  for (const float sample : sound.samples) {
    const float scaled = std::clamp(sample * 32768.0f, -32768.0f, 32767.0f);
    put(bytes, static_cast<uint16_t>(static_cast<int16_t>(std::lround(scaled))));
  }
  return bytes;
}

}  // namespace fovea::speech

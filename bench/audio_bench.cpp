// How many seconds of sound a second: decoded, into log mel rows, and into text by Whisper's shapes
// with random weights? One JSON object a line, then a table. Files are made by the ffmpeg tool
// under build/bench on first use; a decoder's limit is that tool, which decodes and resamples the
// same file, in processor time. An encoder's limit is peak_gflops, a written token's reading the
// weights.
#include <sys/resource.h>
#include <sys/wait.h>

#include <cstdlib>
#include <filesystem>

#include "base/error.h"
#include "generate/speech/transcriber.h"
#include "limits.h"
#include "media/sound.h"
#include "models/audio/whisper_config.h"
#include "processors/audio/sound_features.h"
#include "report.h"
#include "stopwatch.h"

namespace {

using namespace fovea;
namespace fs = std::filesystem;

constexpr int kSeconds = 300;

void run(const std::string& line) {
  const int status = std::system(line.c_str());
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
    fail(ErrorKind::kIo, "[bench] expected success of '{}' but got {}", line, status);
  }
}

// Noise under a melody, which no codec finds easy.
std::string sound_file(const std::string& name, const std::string& encoding) {
  const fs::path folder = "build/bench/sound";
  fs::create_directories(folder);
  const auto file = folder / name;
  if (!fs::exists(file)) {
    run(
        fmt::format("ffmpeg -nostdin -v error -y -f lavfi -i \"aevalsrc="
                    "0.3*sin(2*PI*(200+80*sin(3*t))*t)+0.05*random(0)|0.2*sin(2*PI*330*t):"
                    "s=44100:d={}\" {} {}",
                    kSeconds, encoding, file.string()));
  }
  return file.string();
}

double child_seconds() {
  rusage usage{};
  ::getrusage(RUSAGE_CHILDREN, &usage);
  const auto seconds = [](const timeval& t) { return double(t.tv_sec) + 1e-6 * double(t.tv_usec); };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

Sound decode(bench::Report& report, const std::string& name, const std::string& encoding) {
  const std::string file = sound_file(name, encoding);
  SoundInput input;
  input.name = file;
  input.file = InputFile::open(file);
  media::read_sound(input, processors::kSoundRate);  // the libraries, once
  double begin = bench::seconds();
  auto decoded = media::read_sound(input, processors::kSoundRate);
  const double ours = bench::seconds() - begin;
  begin = child_seconds();
  run(fmt::format("ffmpeg -nostdin -v error -threads 1 -i {} -ac 1 -ar 16000 -f f32le -y /dev/null",
                  file));
  const double tool = child_seconds() - begin;
  report.add("decode " + name, kSeconds / ours, "s/s", tool / ours);
  return std::move(decoded.sound);
}

// Multiplications and additions of a window's way through the encoder.
double encoder_operations(const models::audio::WhisperConfig& c) {
  const double d = c.d_model;
  const double states = c.max_source_positions;
  const double layer = states * (8 * d * d + 4 * d * c.encoder_ffn_dim) + 4 * states * states * d;
  return 2 * states * 6 * c.num_mel_bins * d + states * 6 * d * d + c.encoder_layers * layer;
}

void whisper(bench::Report& report, const bench::Limits& limits, const std::string& shape,
             const Sound& sound) {
  const std::string folder = "build/bench/" + shape;
  if (!fs::exists(folder + "/config.json")) {
    run(fmt::format("build/release/fovea synth {} {} --bits 16 >/dev/null", shape, folder));
  }
  const auto config = models::audio::read_whisper_config(open_checkpoint(folder).config);
  generate::Transcriber transcriber(folder);
  generate::TranscribeOptions options;
  options.language = "en";
  options.temperatures = {0};
  Sound window{sound.rate, {sound.samples.begin(), sound.samples.begin() + 30 * sound.rate}};
  int tokens = 0;
  double encoded = 0;
  double decoded = 0;
  for (const bool counted : {false, true}) {  // once to warm up
    tokens = 0;
    const double begin = bench::seconds();
    double first = 0;
    double last = 0;
    options.stop = [&] {
      last = bench::seconds();
      // Asked before the window, and before each token.
      if (++tokens == 2) first = last;
      return tokens > 102;
    };
    transcriber.transcribe(window, options);
    if (counted) {
      encoded = first - begin;
      decoded = last - first;
    }
  }
  report.add(shape + " hears a window of 30 s", 1000 * encoded, "ms",
             encoder_operations(config) / encoded / 1e9 / limits.peak_gflops());
  const double each = decoded / (tokens - 2);
  const double d = config.d_model;
  const double read = 2 * (config.vocab_size * d +
                           config.decoder_layers * (6 * d * d + 2 * d * config.decoder_ffn_dim)) +
                      4 * config.decoder_layers * config.max_source_positions * d;
  report.add(shape + " writes a token", 1000 * each, "ms", read / each / 1e9 / limits.read_gbytes);
  // At the pace of speech, about 3 tokens a second.
  report.add(shape + " real-time factor at 90 tokens", (encoded + 90 * each) / 30, "s/s");
}

}  // namespace

int main() {
  const auto limits = bench::measure_limits();
  std::printf("%s\n", limits.json().dump().c_str());
  bench::Report report;
  const Sound sound = decode(report, "s16.wav", "");
  decode(report, "s16.flac", "-c:a flac");
  decode(report, "vbr.mp3", "-c:a libmp3lame -q:a 4");
  decode(report, "opus.ogg", "-c:a libopus -ar 48000");
  decode(report, "aac.m4a", "-c:a aac");
  for (const int mels : {80, 128}) {
    const double begin = bench::seconds();
    processors::whisper_features(sound.samples, mels, sound.samples.size());
    report.add(fmt::format("log mel rows, {} mels", mels), kSeconds / (bench::seconds() - begin),
               "s/s");
  }
  for (const char* shape : {"whisper-tiny", "whisper-base"}) whisper(report, limits, shape, sound);
  return 0;
}

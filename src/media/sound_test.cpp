#include "media/sound.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <fstream>

#include "support/clips.h"
#include "support/expect_error.h"

namespace fovea::media {
namespace {

using testing::make_clip;
using testing::TemporaryFolder;

constexpr int kRate = 16000;

SoundInput sound_file(const std::filesystem::path& path) {
  return {path.filename().string(), nullptr, InputFile::open(path), {}, {}};
}

SoundInput in_memory(const std::string& bytes) {
  return {"bytes", std::make_shared<const std::string>(bytes), nullptr, {}, {}};
}

// A sweep on the left, another on the right, so that a channel that is left out shows.
std::string sweeps(int rate, double seconds) {
  return fmt::format(
      "-f lavfi -i \"aevalsrc=0.4*sin(2*PI*(200+300*t)*t)|0.3*cos(2*PI*(900+100*t)*t):s={}:d={}\"",
      rate, seconds);
}

// What the ffmpeg tool makes of it: the mean of the channels in floats, then its resampler.
std::vector<float> by_tool(const TemporaryFolder& folder, const std::filesystem::path& file,
                           int channels) {
  std::string mean = "pan=mono|c0=";
  for (int i = 0; i < channels; ++i)
    mean += fmt::format("{}{}*c{}", i ? "+" : "", 1.0 / channels, i);
  const auto raw = make_clip(
      folder, "samples.raw",
      fmt::format("-i {} -map 0:a:0 -af \"aformat=sample_fmts=fltp,{},aresample={}\" -f f32le",
                  file.string(), mean, kRate));
  const std::string bytes = read_file(raw);
  std::vector<float> samples(bytes.size() / sizeof(float));
  std::memcpy(samples.data(), bytes.data(), samples.size() * sizeof(float));
  return samples;
}

double largest_difference(const std::vector<float>& a, const std::vector<float>& b) {
  EXPECT_EQ(a.size(), b.size());
  double largest = 0;
  for (size_t i = 0; i < std::min(a.size(), b.size()); ++i) {
    largest = std::max(largest, std::abs(double{a[i]} - double{b[i]}));
  }
  return largest;
}

struct Form {
  const char* file;
  int rate;
  const char* encoding;
  int channels = 2;
};

void PrintTo(const Form& form, std::ostream* out) { *out << form.file; }

class Sounds : public ::testing::TestWithParam<Form> {};

TEST_P(Sounds, GiveTheSamplesOfTheTool) {
  const TemporaryFolder folder;
  const Form& form = GetParam();
  const auto file =
      make_clip(folder, form.file, sweeps(form.rate, 2.5) + " " + std::string(form.encoding));
  const auto decoded = read_sound(sound_file(file), kRate);
  EXPECT_EQ(decoded.channels, form.channels);
  EXPECT_EQ(decoded.sound.rate, kRate);
  EXPECT_EQ(decoded.lost_packets, 0);
  EXPECT_NEAR(decoded.sound.seconds(), 2.5, 0.12);  // what encoders add
  const auto expected = by_tool(folder, file, form.channels);
  EXPECT_LT(largest_difference(decoded.sound.samples, expected), 2e-6);
  double power = 0;
  for (const float x : decoded.sound.samples) power += double{x} * double{x};
  EXPECT_GT(power / static_cast<double>(decoded.sound.samples.size()), 0.003);
  // In memory, and a part of it, which has the same bits.
  auto part = in_memory(read_file(file));
  EXPECT_EQ(read_sound(part, kRate).sound.samples, decoded.sound.samples);
  part.start = 0.5;
  part.end = 1.25;
  const auto& whole = decoded.sound.samples;
  EXPECT_EQ(read_sound(part, kRate).sound.samples,
            std::vector<float>(whole.begin() + 8000, whole.begin() + 20000));
}

INSTANTIATE_TEST_SUITE_P(
    Files, Sounds,
    ::testing::Values(
        Form{"s16.wav", 44100, ""}, Form{"s24.wav", 48000, "-c:a pcm_s24le"},
        Form{"s32.wav", 16000, "-c:a pcm_s32le"}, Form{"f32.wav", 22050, "-c:a pcm_f32le"},
        Form{"f64.wav", 8000, "-c:a pcm_f64le"}, Form{"u8.wav", 11025, "-c:a pcm_u8"},
        Form{"mono.wav", 16000, "-ac 1", 1}, Form{"six.wav", 48000, "-ac 6", 6},
        Form{"alaw.wav", 8000, "-c:a pcm_alaw"}, Form{"mulaw.au", 8000, "-c:a pcm_mulaw"},
        Form{"adpcm.wav", 22050, "-c:a adpcm_ima_wav"}, Form{"ms.wav", 22050, "-c:a adpcm_ms"},
        Form{"long.w64", 44100, ""}, Form{"apple.aiff", 44100, ""}, Form{"apple.caf", 44100, ""},
        Form{"s16.flac", 44100, "-c:a flac"}, Form{"s24.flac", 96000, "-c:a flac -sample_fmt s32"},
        Form{"vbr.mp3", 44100, "-c:a libmp3lame -q:a 4"},
        Form{"no_header.mp3", 44100, "-c:a libmp3lame -b:a 128k -write_xing 0"},
        Form{"vorbis.ogg", 44100, "-c:a libvorbis"}, Form{"opus.ogg", 48000, "-c:a libopus"},
        Form{"opus.webm", 48000, "-c:a libopus"}, Form{"flac.ogg", 44100, "-c:a flac"},
        Form{"aac.m4a", 44100, "-c:a aac"}, Form{"alac.m4a", 44100, "-c:a alac"},
        Form{"aac.aac", 44100, "-c:a aac"}, Form{"aac.ts", 48000, "-c:a aac"},
        Form{"fragmented.mp4", 44100, "-c:a aac -movflags +frag_keyframe+empty_moov"},
        Form{"ac3.mkv", 48000, "-c:a ac3"}, Form{"mp2.mpg", 44100, "-c:a mp2"},
        Form{"wma.asf", 44100, "-c:a wmav2"}),
    [](const auto& param) {
      std::string name = param.param.file;
      std::replace(name.begin(), name.end(), '.', '_');
      return name;
    });

// Against the formula itself, whatever a library makes of it.
TEST(Sound, ResamplesToTheSameWave) {
  const TemporaryFolder folder;
  for (const int rate : {44100, 48000, 8000, 22050}) {
    const auto file = make_clip(
        folder, "sine.wav",
        fmt::format("-f lavfi -i \"aevalsrc=0.5*sin(2*PI*1000*t):s={}:d=1\" -c:a pcm_f32le", rate));
    const auto sound = read_sound(sound_file(file), kRate).sound;
    ASSERT_EQ(sound.samples.size(), 16000u) << rate;
    for (size_t i = 400; i < 15600; ++i) {
      const double expected = 0.5 * std::sin(2 * M_PI * 1000 * static_cast<double>(i) / kRate);
      ASSERT_NEAR(sound.samples[i], expected, 2e-3) << rate << " " << i;
    }
  }
}

TEST(Sound, ComesOutOfVideos) {
  const TemporaryFolder folder;
  const auto file = make_clip(folder, "clip.mp4",
                              testing::moving(64, 48, 10, 2) + " " + sweeps(48000, 2) +
                                  " -c:v libx264 -pix_fmt yuv420p -c:a aac");
  const auto decoded = read_sound(sound_file(file), kRate);
  EXPECT_EQ(decoded.codec, "aac");
  EXPECT_LT(largest_difference(decoded.sound.samples, by_tool(folder, file, 2)), 2e-6);
  const auto silent = make_clip(folder, "silent.mp4",
                                testing::moving(64, 48, 10, 1) + " -c:v libx264 -pix_fmt yuv420p");
  EXPECT_ERROR(read_sound(sound_file(silent), kRate), ErrorKind::kInvalidData,
               "expected a stream of sound in 'silent.mp4' but got none");
}

TEST(Sound, ReadsWhatAPipeWrote) {
  const TemporaryFolder folder;
  const auto file = make_clip(folder, "out", sweeps(16000, 1) + " -f wav - >piped.wav; true");
  const auto sound = read_sound(sound_file(folder.path() / "piped.wav"), kRate).sound;
  EXPECT_EQ(sound.samples.size(), 16000u);
}

TEST(Sound, RefusesWhatBreaksOff) {
  const TemporaryFolder folder;
  for (const char* form : {"a.wav", "a.flac", "a.m4a -movflags +faststart", "a.aiff", "a.mp3"}) {
    const std::string name = std::string(form).substr(0, std::string(form).find(' '));
    const auto more = std::string(form).substr(name.size());
    const std::string bytes = read_file(make_clip(folder, name, sweeps(16000, 3) + more));
    auto half = in_memory(bytes.substr(0, bytes.size() / 2));
    EXPECT_ERROR(read_sound(half, kRate), ErrorKind::kInvalidData, "it breaks off after 1.");
    half.end = 1;
    EXPECT_EQ(read_sound(half, kRate).sound.samples.size(), 16000u) << name;
  }
}

std::string number(uint32_t value) { return {reinterpret_cast<const char*>(&value), sizeof value}; }

// 16 bits, one channel, with `before` and `behind` around the samples, an even count of bytes each.
std::string wav(uint32_t samples, const std::string& before = "", const std::string& behind = "") {
  const std::string format = "fmt " + number(16) + number(0x00010001) + number(kRate) +
                             number(2 * kRate) + number(0x00100002);
  std::string data = "data" + number(2 * samples);
  for (uint32_t i = 0; i < samples; ++i) {
    data += static_cast<char>(i * 7);
    data += static_cast<char>(i % 64);
  }
  const std::string all = "WAVE" + format + before + data + behind;
  return "RIFF" + number(static_cast<uint32_t>(all.size())) + all;
}

// On packets' boundaries and between them, however little is missing.
TEST(Sound, RefusesAWavWhereverItIsCut) {
  const std::string odd_list = "LIST" + number(5) + std::string("INFOx\0", 6);
  for (const std::string& before : {std::string(), odd_list}) {
    const auto whole = wav(8000, before);
    ASSERT_EQ(read_sound(in_memory(whole), kRate).sound.samples.size(), 8000u);
    const size_t header = whole.size() - 16000;
    size_t points = 0;
    for (size_t cut = header + 2; cut < whole.size(); cut += cut % 1024 < 3 ? 1 : 127) {
      auto sound = in_memory(whole.substr(0, cut));
      EXPECT_ERROR(read_sound(sound, kRate), ErrorKind::kInvalidData, "it breaks off after 0.");
      ++points;
    }
    for (size_t bytes = 256; bytes < 16000; bytes += 256) {
      auto sound = in_memory(whole.substr(0, header + bytes));
      EXPECT_ERROR(read_sound(sound, kRate), ErrorKind::kInvalidData, "it breaks off after 0.");
      sound.end = static_cast<double>(bytes / 2) / kRate;
      EXPECT_EQ(read_sound(sound, kRate).sound.samples.size(), bytes / 2);
      ++points;
    }
    for (size_t missing = 1; missing <= 8; ++missing, ++points) {
      auto sound = in_memory(whole.substr(0, whole.size() - missing));
      EXPECT_ERROR(read_sound(sound, kRate), ErrorKind::kInvalidData, "it breaks off after 0.");
    }
    EXPECT_GE(points, 150u);
  }
  const TemporaryFolder folder;
  const auto file = folder.write("cut.wav", wav(8000).substr(0, 44 + 8192));
  EXPECT_ERROR(read_sound(sound_file(file), kRate), ErrorKind::kInvalidData,
               "expected a whole file in 'cut.wav' but it breaks off after 0.256 s");
}

// What stands behind the samples may be cut, and a length that says "unknown" is none.
TEST(Sound, ReadsAWavWhoseSamplesAreWhole) {
  const std::string list = "LIST" + number(40) + "INFO" + std::string(36, ' ');
  const auto whole = wav(8000, "", list);
  for (size_t missing = 0; missing <= list.size(); ++missing) {
    auto sound = in_memory(whole.substr(0, whole.size() - missing));
    EXPECT_EQ(read_sound(sound, kRate).sound.samples.size(), 8000u) << missing;
  }
  for (const uint32_t length : {0xFFFFFFFFu, 0x7FFFFFFFu}) {
    auto piped = wav(4096);
    std::memcpy(piped.data() + 4, &length, sizeof length);
    std::memcpy(piped.data() + 40, &length, sizeof length);
    EXPECT_EQ(read_sound(in_memory(piped), kRate).sound.samples.size(), 4096u) << length;
  }
}

TEST(Sound, RefusesInOneSentence) {
  const TemporaryFolder folder;
  const auto wav = make_clip(folder, "a.wav", sweeps(16000, 1));
  EXPECT_ERROR(read_sound(in_memory(""), kRate), ErrorKind::kInvalidData,
               "expected sound in 'bytes' but got 0 bytes");
  EXPECT_ERROR(read_sound(in_memory(std::string(4000, 'x')), kRate), ErrorKind::kInvalidData,
               "in 'bytes' but got something else");
  const auto nothing = make_clip(folder, "nothing.wav", sweeps(16000, 1) + " -frames:a 0");
  EXPECT_ERROR(read_sound(sound_file(nothing), kRate), ErrorKind::kInvalidData,
               "'nothing.wav' but got");
  auto late = sound_file(wav);
  late.start = 5;
  EXPECT_ERROR(read_sound(late, kRate), ErrorKind::kInvalidArgument,
               "expected a start before 1.000 s in 'a.wav' but got 5");
  late.end = 4;
  EXPECT_ERROR(read_sound(late, kRate), ErrorKind::kInvalidArgument,
               "expected an end after the start, 5 s, but got 4");
  SoundLimits limits;
  limits.seconds = 0.5;
  EXPECT_ERROR(read_sound(sound_file(wav), kRate, limits), ErrorKind::kTooLarge,
               "expected at most 0.5 s of sound of 'a.wav'");
  limits.bytes = 100;
  EXPECT_ERROR(read_sound(in_memory(read_file(wav)), kRate, limits), ErrorKind::kTooLarge,
               "expected at most 100 bytes");
}

// 32 bits that are no number, in an otherwise good file.
TEST(Sound, RefusesSamplesThatAreNotFinite) {
  const TemporaryFolder folder;
  std::string bytes =
      read_file(make_clip(folder, "f32.wav", sweeps(16000, 1) + " -ac 1 -c:a pcm_f32le"));
  for (const uint32_t bits : {0x7FC00000u, 0x7F800000u, 0xFF800000u}) {
    std::string bad = bytes;
    std::memcpy(bad.data() + bad.size() - 8000 * 4, &bits, sizeof bits);
    EXPECT_ERROR(read_sound(in_memory(bad), kRate), ErrorKind::kInvalidData,
                 "expected finite samples in 'bytes'");
  }
}

TEST(Sound, PlaylistsAndReferencesAreRefused) {
  const TemporaryFolder folder;
  const auto wav = make_clip(folder, "a.wav", sweeps(16000, 1));
  for (const std::string& text :
       {"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n" + wav.string() + "\n#EXT-X-ENDLIST\n",
        "ffconcat version 1.0\nfile '" + wav.string() + "'\n"}) {
    EXPECT_ERROR(read_sound(in_memory(text), kRate), ErrorKind::kInvalidData,
                 "but got something else");
  }
}

// Every file cut, and with bytes turned, gives samples or one sentence; a good one is read after.
TEST(Sound, SurvivesBrokenBytes) {
  const TemporaryFolder folder;
  const auto good = read_file(make_clip(folder, "good.wav", sweeps(16000, 1)));
  for (const char* form : {"a.wav", "a.flac", "a.mp3", "vorbis.ogg", "a.m4a", "opus.webm"}) {
    const auto bytes = read_file(make_clip(folder, form, sweeps(48000, 1)));
    uint32_t random = 12345;
    for (int round = 0; round < 12; ++round) {
      std::string bad = bytes.substr(0, bytes.size() * static_cast<size_t>(12 - round % 6) / 12);
      for (int i = 0; i < 20 * round; ++i) {
        random = random * 1664525u + 1013904223u;
        bad[(random >> 8) % bad.size()] = static_cast<char>(random >> 3);
      }
      try {
        for (const float x : read_sound(in_memory(bad), kRate).sound.samples) {
          ASSERT_TRUE(std::isfinite(x));
        }
      } catch (const Error& error) {
        EXPECT_EQ(std::string(error.what()).find("[audio] expected"), 0u) << error.what();
      }
    }
  }
  EXPECT_EQ(read_sound(in_memory(good), kRate).sound.samples.size(), 16000u);
}

}  // namespace
}  // namespace fovea::media

#include <gtest/gtest.h>

#include <cmath>
#include <cstdio>

#include "base/json.h"
#include "media/sound.h"
#include "speech/captions.h"
#include "speech/pocketsphinx.h"
#include "speech/voice.h"
#include "support/expect_error.h"

namespace fovea::speech {
namespace {

Transcript two_segments() {
  Transcript transcript{"en", 3725.5, {}};
  transcript.segments.push_back({0, 1.25, " Hello --> there.", {{" Hello", 0.1, 0.5, 0.9}}, {}});
  transcript.segments.push_back({3723.004, 3725.5, " Bye.", {}, {7, 8}, 0.2, -0.5, 1.5, 0.01});
  return transcript;
}

TEST(Captions, AreWhatPlayersRead) {
  const auto transcript = two_segments();
  EXPECT_EQ(as_text(transcript), "Hello --> there.\nBye.\n");
  EXPECT_EQ(as_srt(transcript),
            "1\n00:00:00,000 --> 00:00:01,250\nHello --\xE2\x86\x92 there.\n\n"
            "2\n01:02:03,004 --> 01:02:05,500\nBye.\n\n");
  EXPECT_EQ(as_vtt(transcript),
            "WEBVTT\n\n00:00:00.000 --> 00:00:01.250\nHello --\xE2\x86\x92 there.\n\n"
            "01:02:03.004 --> 01:02:05.500\nBye.\n\n");
  const Json json = Json::parse(as_json(transcript), "json");
  EXPECT_EQ(json["text"].as_string(), "Hello --> there. Bye.");
  EXPECT_EQ(json["segments"].at(0)["words"].at(0)["word"].as_string(), "Hello");
  EXPECT_EQ(json["segments"].at(1)["tokens"].as_int_list(), std::vector<int>({7, 8}));
  EXPECT_DOUBLE_EQ(json["segments"].at(1)["avg_logprob"].as_double(), -0.5);
}

// A cue's text is markup to a player, and a return ends a line as a newline does.
TEST(Captions, EscapeWhatPlayersTakeForMarkup) {
  Transcript transcript{"en", 1, {}};
  transcript.segments.push_back({0, 1, "\r\nR&D <i>&lt; a\r\n\r\nb\rc-->d\r", {}, {}});
  EXPECT_EQ(as_vtt(transcript),
            "WEBVTT\n\n00:00:00.000 --> 00:00:01.000\n"
            "R&amp;D &lt;i>&amp;lt; a\nb\nc--\xE2\x86\x92"
            "d\n\n");
  EXPECT_EQ(as_srt(transcript),
            "1\n00:00:00,000 --> 00:00:01,000\nR&D <i>&lt; a\nb\nc--\xE2\x86\x92"
            "d\n\n");
}

TEST(Grammar, IsJsgfOrCommands) {
  EXPECT_TRUE(read_grammar("#JSGF V1.0;\ngrammar g;\npublic <a> = yes;\n", "g").jsgf);
  const auto settings = read_grammar("Open the door!\n\n close, it \n", "g");
  EXPECT_EQ(settings.commands, std::vector<std::string>({"open the door", "close it"}));
  EXPECT_ERROR(read_grammar(" \n;\n", "g.txt"), ErrorKind::kInvalidData, "in 'g.txt'");
  EXPECT_EQ(read_grammar("Caf\xC3\xA9 na\xC3\xAFve!\n", "g").commands,
            std::vector<std::string>({"caf\xC3\xA9 na\xC3\xAFve"}));
}

TEST(Wav, IsReadAsItWasWritten) {
  Sound sound{16000, {}};
  for (int i = 0; i < 1600; ++i) {
    sound.samples.push_back(static_cast<float>(i % 200 - 100) / 128.0f);
  }
  SoundInput input;
  input.bytes = std::make_shared<const std::string>(wav_bytes(sound));
  EXPECT_EQ(media::read_sound(input, 16000).sound.samples, sound.samples);
}

Sound at_rate(const Sound& sound, int rate) {
  SoundInput input;
  input.bytes = std::make_shared<const std::string>(wav_bytes(sound));
  return media::read_sound(input, rate).sound;
}

std::vector<std::string> words_of(const std::string& text) {
  std::vector<std::string> words(1);
  for (const char c : text) {
    if (c == ' ') {
      words.emplace_back();
    } else {
      words.back() += c;
    }
  }
  return words;
}

// Words that are wrong, missing or too many, of those that were said.
double word_error_rate(const std::string& said, const std::string& heard) {
  const auto a = words_of(said);
  const auto b = words_of(heard);
  std::vector<size_t> row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (size_t i = 0; i < a.size(); ++i) {
    size_t corner = row[0];
    row[0] = i + 1;
    for (size_t j = 0; j < b.size(); ++j) {
      const size_t above = row[j + 1];
      row[j + 1] = std::min({above + 1, row[j] + 1, corner + (a[i] == b[j] ? 0 : 1)});
      corner = above;
    }
  }
  return static_cast<double>(row.back()) / static_cast<double>(a.size());
}

// A robot's voice is hard on a small model: the bound is what makes sense of it.
TEST(Speech, IsHeardAsItWasSaid) {
  const std::string said = "hello world this is a small test on speech recognition";
  VoiceSettings settings;
  settings.voice = "en-us";
  settings.words_per_minute = 160;
  const auto sound = at_rate(make_espeak_voice(settings)->speak(said), 16000);
  EXPECT_GT(sound.seconds(), 2);
  EXPECT_LT(sound.seconds(), 6);
  const auto transcript = open_sphinx()->transcribe(sound, {});
  const std::string heard = whole_text(transcript);
  const double rate = word_error_rate(said, heard);
  std::printf("said '%s', heard '%s': word error rate %.2f\n", said.c_str(), heard.c_str(), rate);
  EXPECT_LE(rate, 0.4);
  for (const auto& segment : transcript.segments) {
    double last = 0;
    for (const auto& word : segment.words) {
      EXPECT_GE(word.start, last);
      EXPECT_LE(word.end, sound.seconds() + 0.3);
      last = word.end;
    }
  }
}

TEST(Speech, CommandsAreToldApart) {
  VoiceSettings settings;
  settings.voice = "en-us";
  const auto voice = make_espeak_voice(settings);
  const auto sphinx = open_sphinx(read_grammar("open the door\nclose the window\nstop now", "g"));
  for (const char* command : {"open the door", "close the window", "stop now"}) {
    const auto sound = at_rate(voice->speak(command), 16000);
    EXPECT_EQ(whole_text(sphinx->transcribe(sound, {})), command);
  }
  const auto jsgf = open_sphinx(read_grammar(
      "#JSGF V1.0;\ngrammar g;\npublic <c> = (open | close) the (door | window);\n", "g"));
  EXPECT_EQ(whole_text(jsgf->transcribe(at_rate(voice->speak("close the door"), 16000), {})),
            "close the door");
}

TEST(Speech, RefusesInOneSentence) {
  EXPECT_ERROR(make_espeak_voice({"; rm", 100}), ErrorKind::kInvalidArgument, "expected a voice");
  EXPECT_ERROR(make_espeak_voice({"xx-none", 100})->speak("hi"), ErrorKind::kInvalidArgument,
               "espeak-ng");
  EXPECT_ERROR(make_espeak_voice({})->speak(" \n"), ErrorKind::kInvalidArgument, "got none");
  EXPECT_ERROR(open_sphinx(read_grammar("qwxzzy", "g")), ErrorKind::kInvalidData, "'qwxzzy'");
  EXPECT_ERROR(open_sphinx(read_grammar("open the r\xC3\xA9sum\xC3\xA9", "g")),
               ErrorKind::kInvalidData, "but got 'r\xC3\xA9sum\xC3\xA9'");
  SphinxSettings elsewhere;
  elsewhere.model_folder = "/nowhere";
  EXPECT_ERROR(open_sphinx(elsewhere), ErrorKind::kUnsupported, "pocketsphinx-en-us");
  SphinxSettings broken;
  broken.jsgf = "#JSGF V1.0;\ngrammar g;\npublic <c> = (open;\n";
  EXPECT_ERROR(open_sphinx(broken), ErrorKind::kInvalidData, "JSGF");
}

TEST(Speech, SilenceSaysNothing) {
  EXPECT_TRUE(
      open_sphinx()->transcribe({16000, std::vector<float>(32000, 0)}, {}).segments.empty());
  EXPECT_TRUE(open_sphinx()->transcribe({16000, {}}, {}).segments.empty());
}

}  // namespace
}  // namespace fovea::speech

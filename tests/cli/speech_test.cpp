// Speech on the command line.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/json.h"
#include "support/command_line.h"
#include "support/fixtures.h"
#include "support/temporary_folder.h"

namespace fovea {
namespace {

using testing::expect_refused;
using testing::fixture_path;
using testing::fovea;
using ::testing::HasSubstr;
using testing::TemporaryFolder;

std::string checkpoint(const char* name) {
  return fixture_path(std::string("speech/whisper/checkpoints/") + name).string();
}

std::string said(const TemporaryFolder& folder, const std::string& text) {
  const std::string file = (folder.path() / "said.wav").string();
  const auto outcome = fovea({"speak", text, "--voice", "en-us", "--output", file});
  EXPECT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_THAT(outcome.out, HasSubstr(" s\n"));
  return file;
}

TEST(Speech, IsSaidAndHeardByCommands) {
  const TemporaryFolder folder;
  const std::string file = said(folder, "open the door");
  const std::string grammar = (folder.path() / "commands.txt").string();
  write_file_atomic(grammar, "open the door\nclose the window\n");
  const auto text = fovea({"transcribe", file, "--grammar", grammar});
  EXPECT_EQ(text.code, 0) << text.err;
  EXPECT_EQ(text.out, "open the door\n");
  const auto json =
      fovea({"transcribe", file, "--grammar", grammar, "--format", "json", "--timestamps", "word"});
  const Json words = Json::parse(json.out, "output")["segments"].at(0)["words"];
  ASSERT_EQ(words.size(), 3u);
  EXPECT_EQ(words.at(2)["word"].as_string(), "door");
  EXPECT_GT(words.at(2)["start"].as_double(), words.at(0)["start"].as_double());
  const auto late = fovea({"transcribe", file, "--start", "0.1", "--format", "srt"});
  EXPECT_EQ(late.code, 0) << late.err;
}

TEST(Speech, WhisperCheckpointsListen) {
  const TemporaryFolder folder;
  const std::string file = said(folder, "hello world, this is a test of several windows");
  for (const char* name : {"hf-bf16", "mlx-4bit"}) {
    for (const char* times : {"none", "segment", "word"}) {
      const auto outcome = fovea({"transcribe", file, "--model", checkpoint(name), "--timestamps",
                                  times, "--format", "json", "--prompt", "the cat"});
      ASSERT_EQ(outcome.code, 0) << outcome.err;
      const Json json = Json::parse(outcome.out, "output");
      double last = 0;
      for (size_t i = 0; i < json["segments"].size(); ++i) {
        const Json segment = json["segments"].at(i);
        EXPECT_GE(segment["start"].as_double(), last - 1e-9);
        EXPECT_LE(segment["end"].as_double(), json["duration"].as_double() + 0.011);
        EXPECT_EQ(segment.contains("words"), std::string(times) == "word") << times;
        last = segment["start"].as_double();
      }
    }
  }
  // The same bits again.
  const std::vector<std::string> words = {"transcribe",          file,       "--model",
                                          checkpoint("hf-bf16"), "--format", "json"};
  EXPECT_EQ(fovea(words).out, fovea(words).out);
}

TEST(Speech, RefusesInOneSentence) {
  const TemporaryFolder folder;
  const std::string file = said(folder, "hello");
  const std::string whisper = checkpoint("hf-bf16");
  expect_refused({"transcribe"}, "[transcribe] expected a file of sound");
  expect_refused({"transcribe", "nowhere.wav"}, "'nowhere.wav'");
  expect_refused({"transcribe", file, "--language", "de"}, "expected --model");
  expect_refused({"transcribe", file, "--task", "translate"}, "for --task translate");
  expect_refused({"transcribe", file, "--prompt", "x"}, "for --prompt");
  expect_refused({"transcribe", file, "--model", whisper, "--grammar", file}, "without --model");
  expect_refused({"transcribe", file, "--model", whisper, "--language", "xx"},
                 "expected a language among de, en, fr, haw but got 'xx'");
  expect_refused({"generate", "--model", whisper, "--prompt", "hi"}, "fovea transcribe");
  expect_refused({"transcribe", file, "--model", fixture_path("parity/llava").string()}, "");
  expect_refused({"transcribe", fixture_path("sampler").string()}, "");
  expect_refused({"speak"}, "[speak] expected a text");
  expect_refused({"speak", "hi", "--rate", "1"}, "[--rate] expected a whole number from 80 to 450");
}

}  // namespace
}  // namespace fovea

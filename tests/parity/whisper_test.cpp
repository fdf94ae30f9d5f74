// Every case of tests/fixtures/speech/whisper, stage by stage, against Hugging Face's model.
#include <gtest/gtest.h>

#include <cmath>
#include <map>

#include "generate/speech/transcriber.h"
#include "kernels/numerics.h"
#include "mlx/ops.h"
#include "mlx/transforms.h"
#include "nn/safetensors.h"
#include "support/fixtures.h"

namespace fovea {
namespace {

namespace fs = std::filesystem;
namespace mx = mlx::core;

// As tools/reference/parity_whisper.py has it.
Sound sound(int64_t count, int64_t pitch) {
  constexpr std::array kLoudness = {8, 0, 1};
  Sound made{16000, {}};
  for (int64_t i = 0; i < count; ++i) {
    const int64_t phase = (i * i / 64 + pitch * i) % 4096;
    const double wave = static_cast<double>(std::abs(phase - 2048) - 1024) / 1024;
    made.samples.push_back(
        static_cast<float>(wave * kLoudness[static_cast<size_t>(i / 4000 % 3)] / 16));
  }
  return made;
}

std::vector<float> host(const mx::array& x) {
  auto flat = mx::contiguous(mx::astype(x, mx::float32));
  mx::eval(flat);
  return {flat.data<float>(), flat.data<float>() + flat.size()};
}

void expect_near(const std::string& stage, const std::vector<float>& got,
                 const std::vector<float>& expected, double tolerance) {
  ASSERT_EQ(got.size(), expected.size()) << stage;
  double largest = 0;
  double difference = 0;
  for (size_t i = 0; i < got.size(); ++i) {
    largest = std::max(largest, std::abs(static_cast<double>(expected[i])));
    difference = std::max(difference,
                          std::abs(static_cast<double>(got[i]) - static_cast<double>(expected[i])));
  }
  EXPECT_LE(difference, tolerance * largest) << stage;
}

struct Given {
  Json facts;
  fs::path folder;
  Transcript transcript;
  std::map<std::string, std::vector<float>> stages;
};

Given run(const std::string& name, kernels::Numerics numerics) {
  const fs::path root = testing::fixture_path("speech/whisper");
  Given given{Json::parse(read_file(root / "cases" / name / "case.json"), name),
              root / "cases" / name,
              {},
              {}};
  const Json asked = given.facts["asked"];
  generate::TranscribeOptions options;
  if (!asked["language"].is_null()) options.language = asked["language"].as_string();
  options.translate = asked["task"].as_string() == "translate";
  options.timestamps =
      asked["timestamps"].as_bool() ? generate::Timestamps::kSegment : generate::Timestamps::kNone;
  options.temperatures = {0};
  options.no_speech_threshold = 2;
  options.stage_sink = [&](const std::string& stage, const mx::array& x) {
    given.stages[stage] = host(x);
  };
  const auto before = kernels::numerics();
  kernels::set_numerics(numerics);
  generate::Transcriber transcriber(
      (root / "checkpoints" / given.facts["checkpoint"].as_string()).string());
  given.transcript = transcriber.transcribe(
      sound(given.facts["samples"].as_int(), given.facts["pitch"].as_int()), options);
  kernels::set_numerics(before);
  return given;
}

class Whisper : public ::testing::TestWithParam<const char*> {};

void expect_stages(const Given& given, double tolerance) {
  for (const auto& [stage, value] : nn::map_safetensors(given.folder / "stages.safetensors")) {
    // Where the language is detected, the first step is another.
    const bool later = given.facts["asked"]["language"].is_null() && stage != "encoder" &&
                       stage != "input_features";
    if (later) continue;
    ASSERT_TRUE(given.stages.contains(stage)) << stage;
    auto got = given.stages.at(stage);
    const auto expected = host(value);
    // Of the row that the transcript begins with and the last one.
    if (stage == "logits" && got.size() > expected.size()) {
      got.erase(got.begin(), got.end() - static_cast<std::ptrdiff_t>(expected.size()));
    }
    const bool features = stage == "input_features";
    expect_near(stage, got, expected, features ? 1e-4 : tolerance);
  }
}

TEST_P(Whisper, AnswersAsHuggingFace) {
  const auto given = run(GetParam(), kernels::Numerics::kFloat32);
  expect_stages(given, 1e-4);
  EXPECT_EQ(given.transcript.language, given.facts["language"].as_string());
  // Tokens of the segments that say something, in order, are those of the answer.
  const auto expected = given.facts["tokens"].as_int_list();
  std::vector<int> tokens;
  for (const auto& segment : given.transcript.segments) {
    if (segment.start >= 2) break;  // of another window
    tokens.insert(tokens.end(), segment.tokens.begin(), segment.tokens.end());
    EXPECT_NEAR(segment.mean_logprob, given.facts["mean_logprob"].as_double(), 1e-3);
    EXPECT_NEAR(segment.no_speech_probability, given.facts["no_speech_probability"].as_double(),
                1e-4);
  }
  ASSERT_FALSE(tokens.empty());
  ASSERT_LE(tokens.size(), expected.size());
  EXPECT_EQ(tokens,
            std::vector<int>(expected.begin(),
                             expected.begin() + static_cast<std::ptrdiff_t>(tokens.size())));
}

TEST_P(Whisper, StaysNearWithFastProducts) {
  expect_stages(run(GetParam(), kernels::Numerics::kFast), 3e-2);
}

INSTANTIATE_TEST_SUITE_P(Cases, Whisper,
                         ::testing::Values("timestamps", "short", "detected", "translate", "4bit"));

}  // namespace
}  // namespace fovea

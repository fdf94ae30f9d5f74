#include "processors/audio/sound_features.h"

#include <gtest/gtest.h>

#include <cmath>
#include <numeric>

#include "support/fixtures.h"

namespace fovea::processors {
namespace {

// As tools/reference/sound_features.py has it.
std::vector<float> sound(int64_t count) {
  constexpr std::array kLoudness = {8, 0, 1};
  std::vector<float> samples;
  for (int64_t i = 0; i < count; ++i) {
    const int64_t phase = (i * i / 64 + 37 * i) % 4096;
    const double wave = static_cast<double>(std::abs(phase - 2048) - 1024) / 1024;
    samples.push_back(static_cast<float>(wave * kLoudness[static_cast<size_t>(i / 4000 % 3)] / 16));
  }
  return samples;
}

SoundFeatures features(const std::string& front, std::span<const float> samples) {
  if (front == "whisper-80") return whisper_features(samples, 80, 480000);
  if (front == "whisper-128") return whisper_features(samples, 128, 480000);
  if (front == "phi4") return phi4_features(samples);
  if (front == "gemma3n") return gemma3n_features(samples);
  EXPECT_EQ(front, "gemma4");
  return gemma4_features(samples);
}

TEST(SoundFeatures, AreThoseOfTheReference) {
  const Json fixture = testing::read_fixture("processors/sound/cases.json");
  const Json cases = fixture["cases"];
  ASSERT_EQ(cases.size(), 15u);
  for (size_t i = 0; i < cases.size(); ++i) {
    const Json expected = cases.at(i);
    const auto samples = expected["samples"].as_int();
    const std::string front = expected["front"].as_string();
    SCOPED_TRACE(fmt::format("{} {}", front, samples));
    const auto got = features(front, sound(samples));
    ASSERT_EQ(got.rows.shape, expected["shape"].as_int_list());
    if (expected.contains("filled")) {
      EXPECT_EQ(got.filled, expected["filled"].as_int32());
    }
    const auto stride = static_cast<size_t>(fixture["stride"].as_int() * (1 + samples / 60000));
    const auto values = expected["values"].as_float_list();
    ASSERT_EQ(values.size(), (got.rows.data.size() + stride - 1) / stride);
    for (size_t j = 0; j < values.size(); ++j) {
      ASSERT_NEAR(got.rows.data[j * stride], values[j], 1e-4) << j;
    }
    const double sum = std::accumulate(got.rows.data.begin(), got.rows.data.end(), 0.0);
    EXPECT_NEAR(sum, expected["sum"].as_double(), 1e-5 * static_cast<double>(got.rows.data.size()));
  }
}

TEST(SoundFeatures, TakeSoundOfAnyLength) {
  for (const char* front : {"whisper-80", "phi4", "gemma3n", "gemma4"}) {
    for (const int64_t count : {0, 1, 159, 200, 399, 400, 401, 700000}) {
      const auto got = features(front, sound(count));
      EXPECT_LE(got.filled, got.rows.shape[0]) << front << " " << count;
      for (const float value : got.rows.data) ASSERT_TRUE(std::isfinite(value)) << front << count;
    }
  }
  EXPECT_EQ(phi4_tokens(0), 0);
  EXPECT_EQ(phi4_tokens(8), 1);
  EXPECT_EQ(phi4_tokens(9), 2);
}

}  // namespace
}  // namespace fovea::processors

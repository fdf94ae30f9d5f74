#include "generate/speech/whisper_rules.h"

#include <gtest/gtest.h>

#include <cmath>

#include "generate/speech/word_times.h"

namespace fovea::generate {
namespace {

// Text is 0 to 9, then the end, the start, the previous text's, no timestamps, and 20 timestamps.
WhisperTokens tokens() {
  WhisperTokens tokens;
  tokens.end_of_text = 10;
  tokens.start = 11;
  tokens.previous = 12;
  tokens.no_timestamps = 13;
  tokens.timestamps = 14;
  tokens.suppressed = {3, 11, 12};
  tokens.suppressed_first = {4, 10};
  return tokens;
}
constexpr size_t kVocabulary = 34;

std::vector<int> allowed(std::vector<int32_t> written, bool with_timestamps,
                         std::vector<float> logits = std::vector<float>(kVocabulary, 0)) {
  apply_whisper_rules(tokens(), written, with_timestamps, 5, logits);
  std::vector<int> ids;
  for (size_t i = 0; i < logits.size(); ++i) {
    if (std::isfinite(logits[i])) ids.push_back(static_cast<int>(i));
  }
  return ids;
}

TEST(WhisperRules, TextAloneHasNoTimestamps) {
  EXPECT_EQ(allowed({}, false), std::vector<int>({0, 1, 2, 5, 6, 7, 8, 9}));
  EXPECT_EQ(allowed({1}, false), std::vector<int>({0, 1, 2, 4, 5, 6, 7, 8, 9, 10}));
}

TEST(WhisperRules, TimestampsComeInPairsThatRise) {
  EXPECT_EQ(allowed({}, true), std::vector<int>({14, 15, 16, 17, 18, 19}));
  // Text, or the end; a pair is not opened twice.
  auto likely_text = std::vector<float>(kVocabulary, 0);
  for (int i = 0; i <= 10; ++i) likely_text[static_cast<size_t>(i)] = 20;
  EXPECT_EQ(allowed({15}, true, likely_text), std::vector<int>({0, 1, 2, 4, 5, 6, 7, 8, 9, 10}));
  // Text, or a later timestamp.
  auto after_text = allowed({15, 1}, true, likely_text);
  EXPECT_EQ(after_text.front(), 0);
  EXPECT_EQ(after_text.back(), 33);
  EXPECT_EQ(std::count(after_text.begin(), after_text.end(), 15), 0);
  EXPECT_EQ(std::count(after_text.begin(), after_text.end(), 16), 1);
  // A lone timestamp behind text: its twin, a later one, or the end.
  const auto twin = allowed({15, 1, 20}, true, likely_text);
  EXPECT_EQ(twin.front(), 10);
  EXPECT_EQ(twin[1], 20);
  // All of them together are likelier than any text.
  EXPECT_EQ(allowed({15, 1}, true).front(), 16);
}

TEST(WhisperRules, WindowsEndAtTheLastPair) {
  const auto read = [](std::vector<int32_t> written) { return read_window(tokens(), written, 10); };
  const auto pair = read({14, 1, 2, 19, 19, 5});
  ASSERT_EQ(pair.stretches.size(), 1u);
  EXPECT_EQ(pair.stretches[0].tokens, std::vector<int32_t>({14, 1, 2, 19}));
  EXPECT_DOUBLE_EQ(pair.stretches[0].end, 0.1);
  EXPECT_DOUBLE_EQ(pair.seconds_done, 0.1);
  const auto whole = read({14, 1, 19, 20, 2, 24});
  ASSERT_EQ(whole.stretches.size(), 2u);
  EXPECT_DOUBLE_EQ(whole.stretches[1].start, 0.12);
  EXPECT_DOUBLE_EQ(whole.stretches[1].end, 0.2);
  EXPECT_DOUBLE_EQ(whole.seconds_done, 10);
  const auto lone = read({14, 1, 24});
  ASSERT_EQ(lone.stretches.size(), 1u);
  EXPECT_DOUBLE_EQ(lone.stretches[0].end, 0.2);
  EXPECT_DOUBLE_EQ(lone.seconds_done, 10);
  EXPECT_DOUBLE_EQ(read({14, 1}).stretches[0].end, 10);
  EXPECT_TRUE(read({}).stretches[0].tokens.empty());
}

TEST(WhisperRules, RepetitionShows) {
  std::string varied;
  for (int i = 0; i < 40; ++i) varied += std::to_string(i * 7919 % 1000);
  EXPECT_LT(compression_ratio(varied), 2.4);
  std::string same;
  for (int i = 0; i < 40; ++i) same += "again and ";
  EXPECT_GT(compression_ratio(same), 2.4);
  EXPECT_EQ(compression_ratio(""), 0);
}

TEST(WhisperRules, ProbabilitiesSumToOne) {
  std::vector<float> logits = {1, 2, -std::numeric_limits<float>::infinity(), 4};
  log_softmax(logits);
  double sum = 0;
  for (const float x : logits) sum += std::exp(static_cast<double>(x));
  EXPECT_NEAR(sum, 1, 1e-6);
  EXPECT_NEAR(logits[3] - logits[1], 2, 1e-6);
}

TEST(WordTimes, FollowTheCheapestPath) {
  // Rows 0, 1, 2 are cheap at columns 0 to 1, 2, and 3 to 5.
  std::vector<float> cost(3 * 6, 1);
  for (const size_t at : {0, 1, 6 + 2, 12 + 3, 12 + 4, 12 + 5}) cost[at] = 0;
  EXPECT_EQ(entered_columns(cost, 3, 6), std::vector<int>({0, 2, 3}));
  EXPECT_EQ(entered_columns(std::vector<float>(4, 0), 1, 4), std::vector<int>({0}));
  EXPECT_EQ(entered_columns(std::vector<float>(3, 0), 3, 1), std::vector<int>({0, 0, 0}));
}

}  // namespace
}  // namespace fovea::generate

#include "generate/sampler.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <map>

#include "support/expect_error.h"
#include "support/fixtures.h"

namespace fovea::generate {
namespace {

using testing::read_fixture;

Sampling sampling_of(const Json& c) {
  Sampling s;
  s.temperature = c.get_double("temperature", 1);
  s.top_p = c.get_double("top_p", 1);
  s.top_k = c.get_int("top_k", 0);
  s.min_p = c.get_double("min_p", 0);
  s.repetition_penalty = c.get_double("repetition_penalty", 1);
  s.presence_penalty = c.get_double("presence_penalty", 0);
  s.frequency_penalty = c.get_double("frequency_penalty", 0);
  for (const auto& key : c["logit_bias"].keys()) {
    s.logit_bias.emplace_back(std::stoi(key), static_cast<float>(c["logit_bias"][key].as_double()));
  }
  return s;
}

TEST(Sampler, KeepsTheTokensThatTheReferenceKeeps) {
  const Json fixture = read_fixture("sampler/cases.json");
  const Json cases = fixture["filters"];
  ASSERT_GT(cases.size(), 50u);
  for (size_t i = 0; i < cases.size(); ++i) {
    const Json c = cases.at(i);
    const auto logits = fixture["logits"][c["logits"].as_string()].as_float_list();
    std::vector<int> kept;
    for (const auto& candidate : kept_candidates(sampling_of(c), logits))
      kept.push_back(candidate.id);
    std::sort(kept.begin(), kept.end());
    EXPECT_EQ(kept, c["kept"].as_int_list()) << c.dump();
  }
}

TEST(Sampler, DrawsWithTheReferencesProbabilities) {
  const Json fixture = read_fixture("sampler/cases.json");
  const Json c = fixture["filters"].at(0);
  const auto logits = fixture["logits"][c["logits"].as_string()].as_float_list();
  std::map<int, int> counts;
  constexpr int kDraws = 20000;
  for (int i = 0; i < kDraws; ++i) {
    Sampling s = sampling_of(c);
    s.seed = static_cast<uint64_t>(i);
    auto copy = logits;
    ++counts[Sampler(s, {}).sample(copy)];
  }
  const auto kept = c["kept"].as_int_list();
  const auto probabilities = c["probabilities"].as_float_list();
  for (size_t i = 0; i < kept.size(); ++i) {
    // Five standard deviations of a count; the seeds are fixed, so this never flickers.
    const double p = probabilities[i];
    EXPECT_NEAR(counts[kept[i]], kDraws * p, 5 * std::sqrt(kDraws * p * (1 - p))) << kept[i];
  }
}

// The reference looks at the newest 20 ids unless told otherwise; Fovea is given just those here.
std::unordered_map<int32_t, int> history_counts(const std::vector<int>& history, const Json& c) {
  size_t context = 20;
  for (const char* key :
       {"repetition_context_size", "presence_context_size", "frequency_context_size"}) {
    if (c.contains(key)) context = static_cast<size_t>(c[key].as_int32());
  }
  std::unordered_map<int32_t, int> counts;
  const size_t first = history.size() - std::min(context, history.size());
  for (size_t i = first; i < history.size(); ++i) ++counts[history[i]];
  return counts;
}

TEST(Sampler, PenalisesAsTheReference) {
  const Json fixture = read_fixture("sampler/cases.json");
  const Json cases = fixture["penalties"];
  ASSERT_GE(cases.size(), 10u);
  for (size_t i = 0; i < cases.size(); ++i) {
    const Json c = cases.at(i);
    const auto counts = history_counts(fixture["history"].as_int_list(), c);
    auto logits = fixture["logits"][c["logits"].as_string()].as_float_list();
    apply_penalties(sampling_of(c), counts, logits);
    const auto expected = c["expected"].as_float_list();
    for (size_t k = 0; k < expected.size(); ++k) {
      EXPECT_NEAR(logits[k], expected[k], 2e-4) << c.dump() << " token " << k;
    }
  }
}

TEST(Sampler, ZeroTemperatureTakesTheFirstOfTheLargest) {
  std::vector<float> logits = {0, 3, 3, 1};
  EXPECT_EQ(Sampler({}, {}).sample(logits), 1);
}

TEST(Sampler, PenaltiesSeeThePromptAndWhatWasSampled) {
  Sampling s;
  s.presence_penalty = 2;
  Sampler sampler(s, std::vector<int32_t>{7});
  const auto next = [&] {
    std::vector<float> logits(10, 0.0f);
    logits[7] = 3;
    logits[4] = 2;
    logits[5] = 1.5;
    return sampler.sample(logits);
  };
  EXPECT_EQ(next(), 4);  // 7 has 1 left
  EXPECT_EQ(next(), 5);  // 4 has 0 left
  EXPECT_EQ(next(), 7);
}

TEST(Sampler, RefusesLogitsThatAreNoNumbers) {
  constexpr float kInf = std::numeric_limits<float>::infinity();
  for (const double temperature : {0.0, 1.0}) {
    Sampling s;
    s.temperature = temperature;
    const auto sample = [&](std::vector<float> logits) { return Sampler(s, {}).sample(logits); };
    EXPECT_ERROR(sample({0, std::nanf(""), 1}), ErrorKind::kInvalidData,
                 "[sampler] expected finite logits but got NaN");
    EXPECT_ERROR(sample({0, kInf}), ErrorKind::kInvalidData, "but got infinity");
    EXPECT_ERROR(sample({-kInf, -kInf}), ErrorKind::kInvalidData, "but got none");
    EXPECT_EQ(sample({-kInf, 1, -kInf}), 1);
  }
}

TEST(Sampler, SeedAndPositionDecide) {
  Sampling s;
  s.temperature = 1;
  s.seed = 42;
  const auto draw = [](Sampler sampler) {
    std::vector<int32_t> ids;
    for (int i = 0; i < 20; ++i) {
      std::vector<float> logits(50, 0.0f);
      ids.push_back(sampler.sample(logits));
    }
    return ids;
  };
  EXPECT_EQ(draw(Sampler(s, {})), draw(Sampler(s, {})));
  Sampling other = s;
  other.seed = 43;
  EXPECT_NE(draw(Sampler(s, {})), draw(Sampler(other, {})));
}

TEST(ResolveSampling, RequestThenCheckpointThenLibrary) {
  const Json config =
      Json::parse(R"({"temperature": 0.7, "top_p": 0.5, "top_k": 3, "do_sample": true})", "g");
  Sampling s = resolve_sampling({}, config);
  EXPECT_EQ(s.temperature, 0.7);
  EXPECT_EQ(s.top_k, 3);
  SamplingParams asked;
  asked.top_p = 0.9;
  EXPECT_EQ(resolve_sampling(asked, config).top_p, 0.9);
  EXPECT_EQ(resolve_sampling({}, Json()).temperature, 0);
  const Json greedy = Json::parse(R"({"temperature": 0.7, "do_sample": false})", "g");
  EXPECT_EQ(resolve_sampling({}, greedy).temperature, 0);
  asked.temperature = 0.001;
  EXPECT_EQ(resolve_sampling(asked, greedy).temperature, 0.01);
}

TEST(ResolveSampling, TheCheckpointsFiltersAndPenaltyCount) {
  const Json config = Json::parse(
      R"({"temperature": 1.0, "min_p": 0.25, "repetition_penalty": 1.5, "top_k": -1})", "g");
  const Sampling s = resolve_sampling({}, config);
  EXPECT_EQ(s.min_p, 0.25);
  EXPECT_EQ(s.repetition_penalty, 1.5);
  EXPECT_EQ(s.top_k, 0);
  const Json greedy = Json::parse(
      R"({"do_sample": false, "top_p": 7, "top_k": "x", "repetition_penalty": 1.5})", "g");
  EXPECT_EQ(resolve_sampling({}, greedy).top_p, 1);
  EXPECT_EQ(resolve_sampling({}, greedy).repetition_penalty, 1.5);
}

TEST(ResolveSampling, NamesTheFileWhoseValueIsWrong) {
  for (const char* value : {"1e300", "50.5", "-2", "3000000000"}) {
    const Json config =
        Json::parse(fmt::format(R"({{"temperature": 1, "top_k": {}}})", value), "generation.json");
    EXPECT_ERROR(resolve_sampling({}, config), ErrorKind::kInvalidData, "[generation.json]");
  }
}

TEST(ResolveSampling, RangesEndWhereTheTableSays) {
  const auto with = [](double top_p, int top_k) {
    SamplingParams asked;
    asked.top_p = top_p;
    asked.top_k = top_k;
    return resolve_sampling(asked, Json());
  };
  EXPECT_NO_THROW(with(kTopP.low, kTopK.low));
  EXPECT_NO_THROW(with(kTopP.high, kTopK.high));
  EXPECT_ERROR(with(-0.001, 0), ErrorKind::kInvalidArgument, "top_p");
  EXPECT_ERROR(with(0.5, kTopK.high + 1), ErrorKind::kInvalidArgument, "top_k");
  EXPECT_ERROR(with(std::nan(""), 0), ErrorKind::kInvalidArgument, "top_p");
}

TEST(ResolveSampling, RefusesBiasesThatAreNotFinite) {
  for (const float bias : {std::numeric_limits<float>::infinity(),
                           -std::numeric_limits<float>::infinity(), std::nanf("")}) {
    SamplingParams asked;
    asked.logit_bias = {{5, bias}};
    EXPECT_ERROR(resolve_sampling(asked, Json()), ErrorKind::kInvalidArgument,
                 "[sampling] expected a finite bias for token 5");
  }
}

TEST(ResolveSampling, RefusesValuesOutOfRange) {
  SamplingParams asked;
  asked.top_p = 1.5;
  EXPECT_ERROR(resolve_sampling(asked, Json()), ErrorKind::kInvalidArgument,
               "[sampling] expected top_p from 0 to 1 but got 1.5");
  asked = {};
  asked.presence_penalty = -3;
  EXPECT_ERROR(resolve_sampling(asked, Json()), ErrorKind::kInvalidArgument, "presence_penalty");
}

}  // namespace
}  // namespace fovea::generate

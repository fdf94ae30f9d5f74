#include "nn/rope.h"

#include <gtest/gtest.h>

#include <cmath>

#include "mlx/ops.h"
#include "mlx/transforms.h"
#include "support/expect_error.h"

namespace fovea::nn {
namespace {

RotaryEmbedding rope_of(const std::string& config, int head_dim = 16) {
  return RotaryEmbedding(Json::parse(config, "config.json"), head_dim, 10000);
}

// The frequencies that a config gives, from the angles at position 1.
std::vector<double> frequencies(const std::string& config, int head_dim = 16) {
  auto tables = rope_of(config, head_dim).tables(mx::ones({1, 1}, mx::int32));
  mx::eval({tables.cos_TR, tables.sin_TR});
  std::vector<double> angles;
  for (int i = 0; i < tables.cos_TR.shape(1); ++i) {
    angles.push_back(std::atan2(tables.sin_TR.data<float>()[i], tables.cos_TR.data<float>()[i]));
  }
  return angles;
}

void expect_refused(const std::string& config, ErrorKind kind, const std::string& part) {
  EXPECT_ERROR(rope_of(config), kind, part);
}

TEST(RotaryEmbedding, FrequenciesFallFromOneByTheta) {
  const auto plain = frequencies("{}");
  const auto wider = frequencies(R"({"rope_theta": 500000.0})");
  const auto inside = frequencies(R"({"rope_parameters": {"rope_theta": 500000.0}})");
  ASSERT_EQ(plain.size(), 8u);
  for (int i = 0; i < 8; ++i) {
    EXPECT_NEAR(plain[i], std::pow(10000.0, -i / 8.0), 1e-6);
    EXPECT_NEAR(wider[i], std::pow(500000.0, -i / 8.0), 1e-6);
    EXPECT_EQ(inside[i], wider[i]);
  }
}

TEST(RotaryEmbedding, LinearScalingDividesEveryFrequency) {
  const auto plain = frequencies("{}");
  for (const char* key : {"rope_scaling", "rope_parameters"}) {
    const auto scaled =
        frequencies(fmt::format(R"({{"{}": {{"type": "linear", "factor": 4}}}})", key));
    for (size_t i = 0; i < plain.size(); ++i) EXPECT_NEAR(scaled[i], plain[i] / 4, 1e-7);
  }
}

TEST(RotaryEmbedding, Llama3StretchesLongWavelengthsOnly) {
  const auto plain = frequencies("{}");
  const auto scaled = frequencies(R"({"rope_scaling": {"rope_type": "llama3", "factor": 8.0,
      "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 512}})");
  constexpr double kContext = 512;
  for (size_t i = 0; i < plain.size(); ++i) {
    const double turns = kContext * plain[i] / (2 * 3.14159265358979);  // within the old context
    const double smooth = std::min(1.0, std::max(0.0, (turns - 1) / (4 - 1)));
    EXPECT_NEAR(scaled[i], plain[i] * (smooth + (1 - smooth) / 8), 1e-7) << i;
  }
  EXPECT_NEAR(scaled.front(), plain.front(), 1e-7);
  EXPECT_NEAR(scaled.back(), plain.back() / 8, 1e-9);
}

// What InternVL's configs ask for acts beyond max_position_embeddings only.
TEST(RotaryEmbedding, DynamicScalingChangesNothingWithinTheContext) {
  EXPECT_EQ(frequencies(R"({"rope_scaling": {"type": "dynamic", "factor": 2.0}})"),
            frequencies("{}"));
}

// A tiny form of Phi-3.5's: four frequencies, lengthened from 32 to 512 positions.
constexpr const char* kLongrope = R"({"max_position_embeddings": 512,
    "original_max_position_embeddings": 32, "rope_scaling": {"type": "su",
    "short_factor": [1, 1.5, 2, 2.5], "long_factor": [2, 4, 8, 16]}})";

TEST(RotaryEmbedding, LongropeDividesByTheFactorsOfTheTextsLength) {
  const auto rope = rope_of(kLongrope, 8);
  ASSERT_EQ(rope.axes(), 2);
  // Row 0 was computed when position 31 was the last known one, row 1 when 32 was.
  const int ids[] = {1, 1, 31, 32};
  auto tables = rope.tables(mx::array(ids, {2, 2}, mx::int32));
  mx::eval({tables.cos_TR, tables.sin_TR});
  const double stretch = std::sqrt(1 + std::log(16.0) / std::log(32.0));
  const double factors[2][4] = {{1, 1.5, 2, 2.5}, {2, 4, 8, 16}};
  for (int row = 0; row < 2; ++row) {
    for (int i = 0; i < 4; ++i) {
      const double angle = std::pow(10000.0, -i / 4.0) / factors[row][i];
      EXPECT_NEAR(tables.cos_TR.data<float>()[row * 4 + i], stretch * std::cos(angle), 1e-6);
      EXPECT_NEAR(tables.sin_TR.data<float>()[row * 4 + i], stretch * std::sin(angle), 1e-6);
    }
  }
}

TEST(RotaryEmbedding, LongropeNeedsAFactorForEveryFrequency) {
  const auto refuse = [](const std::string& scaling, const std::string& part) {
    EXPECT_ERROR(rope_of(R"({"rope_scaling": {"rope_type": "longrope", )" + scaling + "}}", 8),
                 ErrorKind::kInvalidData, part);
  };
  const std::string length = R"("original_max_position_embeddings": 32, )";
  refuse(R"("short_factor": [1, 1, 1, 1], "long_factor": [1, 1, 1, 1])",
         "'original_max_position_embeddings'");
  refuse(R"("original_max_position_embeddings": 1, "short_factor": [1], "long_factor": [1])",
         "length from 2");
  refuse(length + R"("short_factor": [1, 1, 1, 1], "long_factor": [1, 1, 1])",
         "4 numbers above 0 at 'rope_scaling.long_factor'");
  refuse(length + R"("short_factor": [1, 1, 0, 1], "long_factor": [1, 1, 1, 1])",
         "4 numbers above 0 at 'rope_scaling.short_factor'");
}

TEST(RotaryEmbedding, SectionsTakeTheirAxesPosition) {
  const auto rope = rope_of(R"({"rope_scaling": {"type": "mrope", "mrope_section": [2, 3, 3]}})");
  EXPECT_EQ(rope.axes(), 3);
  const int ids[] = {1, 2, 3};
  auto sine = rope.tables(mx::array(ids, {3, 1}, mx::int32)).sin_TR;
  mx::eval(sine);
  for (int i = 0; i < 8; ++i) {
    const int position = i < 2 ? 1 : i < 5 ? 2 : 3;
    EXPECT_NEAR(sine.data<float>()[i], std::sin(position * std::pow(10000.0, -i / 8.0)), 1e-6);
  }
}

// transformers 5 moves rope_scaling into rope_parameters; other writers keep both.
TEST(RotaryEmbedding, TakesTheSectionFromWhicheverHasIt) {
  const std::string section = R"("mrope_section": [2, 3, 3])";
  const std::string bare = R"("rope_type": "default", "rope_theta": 1e6)";
  EXPECT_EQ(rope_of("{\"rope_parameters\": {" + bare +
                    "}, \"rope_scaling\": {\"type\": \"mrope\", " + section + "}}")
                .axes(),
            3);
  EXPECT_EQ(rope_of("{\"rope_parameters\": {" + bare + ", " + section +
                    "}, \"rope_scaling\": {\"type\": \"default\"}}")
                .axes(),
            3);
  const auto both =
      frequencies("{\"rope_parameters\": {" + bare + "}, \"rope_scaling\": {\"type\": \"mrope\"}}");
  EXPECT_NEAR(both[1], std::pow(1e6, -1 / 8.0), 1e-6);
}

TEST(RotaryEmbedding, RefusesSectionsThatDoNotFillTheHead) {
  for (const char* section :
       {"[2, 3]", "[2, 3, 4]", "[-8, 8, 8]", "[0, 4, 4]", "[2147483647, 2147483647, 10]"}) {
    expect_refused(fmt::format(R"({{"rope_scaling": {{"mrope_section": {}}}}})", section),
                   ErrorKind::kInvalidData, "add up to 8 at 'rope_scaling.mrope_section'");
  }
}

TEST(RotaryEmbedding, RefusesNumbersThatMakeNoRotation) {
  using Kind = ErrorKind;
  expect_refused(R"({"rope_theta": 0})", Kind::kInvalidData, "above 0 at 'rope_theta'");
  expect_refused(R"({"rope_theta": -5})", Kind::kInvalidData, "above 0 at 'rope_theta'");
  expect_refused(R"({"rope_theta": 1e300})", Kind::kInvalidData, "at 'rope_theta'");
  expect_refused(R"({"rope_scaling": {"type": "linear", "factor": 0}})", Kind::kInvalidData,
                 "above 0 at 'rope_scaling.factor'");
  expect_refused(R"({"rope_scaling": {"type": "linear"}})", Kind::kInvalidData,
                 "'rope_scaling.factor'");
  expect_refused(R"({"rope_scaling": {"type": "llama3", "factor": 8, "low_freq_factor": 4,
      "high_freq_factor": 4, "original_max_position_embeddings": 512}})",
                 Kind::kInvalidData, "'rope_scaling.high_freq_factor' above 4");
  expect_refused(R"({"partial_rotary_factor": 0.05})", Kind::kInvalidData, "an even number");
  expect_refused(R"({"partial_rotary_factor": 2})", Kind::kInvalidData, "an even number");
  expect_refused(R"({"rope_scaling": {"type": "ntk"}})", Kind::kUnsupported, "got 'ntk'");
  expect_refused(R"({"rope_scaling": {"type": "yarn", "factor": 4}})", Kind::kInvalidData,
                 "'rope_scaling.original_max_position_embeddings'");
  expect_refused(R"({"rope_parameters": {"llama_4_scaling_beta": 0.1}})", Kind::kInvalidData,
                 "'rope_parameters.original_max_position_embeddings'");
  EXPECT_ERROR(rope_of("{}", 15), Kind::kInvalidData, "an even number");
}

// With theta 10000 and heads of 16, frequency i turns 512 * 10^(-i/2) / 2 pi times in 512 tokens:
// 32 times before i = 0.8, which is whole from 0 on, and once before i = 3.8, which is whole up
// to 4.
TEST(RotaryEmbedding, YarnDividesWhatTurnsLittle) {
  const std::string yarn =
      R"("type": "yarn", "factor": 4, "original_max_position_embeddings": 512)";
  const auto plain = frequencies("{}");
  const auto slowed = frequencies("{\"rope_scaling\": {" + yarn + "}}");
  for (int i = 0; i < 8; ++i) {
    const double share = std::min(i / 4.0, 1.0);
    EXPECT_NEAR(slowed[i], plain[i] * (share / 4 + 1 - share), 1e-6) << i;
  }
  const auto length = [](const std::string& config, int position) {
    const auto tables = rope_of(config).tables(mx::full({1, 1}, position, mx::int32));
    const auto squares = [](const mx::array& cosines, const mx::array& sines) {
      return mx::sqrt(mx::add(mx::square(cosines), mx::square(sines)));
    };
    const auto keys = squares(tables.cos_TR, tables.sin_TR);
    const auto queries = squares(tables.query_cos_TR.value_or(tables.cos_TR),
                                 tables.query_sin_TR.value_or(tables.sin_TR));
    return std::pair{mx::max(keys).item<float>(), mx::max(queries).item<float>()};
  };
  const double stretch = 0.1 * std::log(4.0) + 1;
  EXPECT_NEAR(length("{\"rope_scaling\": {" + yarn + "}}", 3).first, stretch, 1e-5);
  // Ministral 3 says both of a ratio that is 1, and lets queries grow.
  const std::string grown = "{\"rope_parameters\": {" + yarn +
                            R"(, "mscale": 1, "mscale_all_dim": 1, "llama_4_scaling_beta": 0.1}})";
  for (const auto& [position, growth] : {std::pair{511, 1.0}, {512, 1 + 0.1 * std::log(2.0)}}) {
    const auto [keys, queries] = length(grown, position);
    EXPECT_NEAR(keys, 1, 1e-5) << position;
    EXPECT_NEAR(queries, growth, 1e-5) << position;
  }
}

// Qwen3-VL's order: time, height, width, time, ... until height and width have theirs.
TEST(RotaryEmbedding, InterleavedSectionsTakeTurns) {
  const Json config =
      Json::parse(R"({"rope_scaling": {"mrope_section": [4, 2, 2]}})", "config.json");
  const RotaryEmbedding rope(config, 16, 10000, true);
  const std::vector<int> axes = {0, 1, 2, 0, 1, 2, 0, 0};
  const auto plain = frequencies("{}");
  for (int axis = 0; axis < 3; ++axis) {
    std::vector<int> positions(3, 0);
    positions[static_cast<size_t>(axis)] = 1;
    auto tables = rope.tables(mx::array(positions.data(), {3, 1}, mx::int32));
    mx::eval(tables.sin_TR);
    for (size_t i = 0; i < axes.size(); ++i) {
      const double expected = axes[i] == axis ? std::sin(plain[i]) : 0;
      EXPECT_NEAR(tables.sin_TR.data<float>()[i], expected, 1e-6) << axis << " " << i;
    }
  }
}

}  // namespace
}  // namespace fovea::nn

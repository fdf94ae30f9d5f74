#include "core/limits.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "support/expect_error.h"

namespace fovea {
namespace {

// `step` is the smallest distance that counts.
template <class T>
void expect_edges(const Limit<T>& limit, T step) {
  const auto check = [&](T value) {
    require_within(limit, value, "here", ErrorKind::kInvalidArgument);
  };
  EXPECT_NO_THROW(check(limit.low)) << limit.name;
  EXPECT_NO_THROW(check(limit.low + step)) << limit.name;
  EXPECT_NO_THROW(check(limit.high - step)) << limit.name;
  EXPECT_NO_THROW(check(limit.high)) << limit.name;
  const std::string sentence = fmt::format("[here] expected {} from", limit.name);
  EXPECT_ERROR(check(limit.low - step), ErrorKind::kInvalidArgument, sentence);
  EXPECT_ERROR(check(limit.high + step), ErrorKind::kInvalidArgument, sentence);
}

TEST(Limits, HoldAtTheirEdges) {
  for (const auto& limit : {kMaxTokens, kTopK, kMaxKvSize, kPrefillStepSize, kThreads, kConnections,
                            kResizeSide, kVideoFrames, kVideoMinFrames, kVideoMaxFrames,
                            kVideoMinPixels, kVideoMaxPixels, kFetchMegabytes, kPdfDpi})
    expect_edges(limit, 1);
  for (const auto& limit : {kTemperature, kTopP, kMinP, kRepetitionPenalty, kPresencePenalty,
                            kFrequencyPenalty, kVideoFps, kVideoStart, kVideoEnd, kFetchSeconds}) {
    expect_edges(limit, 1e-4);
  }
}

// Flags are the names of requests, spelt for a command line.
TEST(Limits, FlagsFollowTheNames) {
  const auto flag_of = [](std::string_view name) {
    std::string flag = "--" + std::string(name);
    std::replace(flag.begin(), flag.end(), '_', '-');
    return flag;
  };
  for (const auto& limit : {kMaxTokens, kTopK, kMaxKvSize, kPrefillStepSize, kThreads, kConnections,
                            kResizeSide, kVideoFrames, kVideoMinFrames, kVideoMaxFrames,
                            kVideoMinPixels, kVideoMaxPixels, kFetchMegabytes, kPdfDpi})
    EXPECT_EQ(limit.flag, flag_of(limit.name));
  for (const auto& limit : {kTemperature, kTopP, kMinP, kRepetitionPenalty, kPresencePenalty,
                            kFrequencyPenalty, kVideoFps, kVideoStart, kVideoEnd, kFetchSeconds}) {
    EXPECT_EQ(limit.flag, flag_of(limit.name));
  }
}

}  // namespace
}  // namespace fovea

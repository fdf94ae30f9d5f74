// Animated pictures as videos, against Pillow's frames and times in tests/fixtures.
#include <gtest/gtest.h>

#include <numeric>

#include "base/json.h"
#include "media/picture.h"
#include "media/source.h"
#include "media/video.h"
#include "support/fixtures.h"

namespace fovea::media {
namespace {

TEST(Animation, EqualsPillow) {
  const Json cases = testing::read_fixture("pillow/animations/cases.json")["cases"];
  ASSERT_GE(cases.size(), 9u);
  for (size_t i = 0; i < cases.size(); ++i) {
    const Json c = cases.at(i);
    const std::string file = c["file"].as_string();
    const auto path = testing::fixture_path("pillow/animations/" + file).string();
    const auto video = Video::open(load_video(path, {}, SourcePolicy::own_files()));
    const auto times = c["times_ms"].as_int_list();
    ASSERT_EQ(video->info().times.size(), times.size()) << file;
    for (size_t f = 0; f < times.size(); ++f) {
      EXPECT_NEAR(video->info().times[f], times[f] / 1000.0, 5e-4) << file << " frame " << f;
    }
    EXPECT_NEAR(video->info().duration, c["end_ms"].as_double() / 1000, 5e-4) << file;
    const std::string expected =
        read_file(testing::fixture_path("pillow/animations/" + c["expected"].as_string()));
    std::vector<int> all(times.size());
    std::iota(all.begin(), all.end(), 0);
    video->read(all, [&](size_t place, const Image& frame) {
      ASSERT_EQ(frame.size, (Size{c["width"].as_int32(), c["height"].as_int32()})) << file;
      const std::string_view now(reinterpret_cast<const char*>(frame.rgb.data()), frame.rgb.size());
      EXPECT_TRUE(now == std::string_view(expected).substr(place * now.size(), now.size()))
          << file << " frame " << place;
    });
    // As a picture it is its first frame, and says so.
    const auto still = decode_picture(load_media(path, SourcePolicy::own_files()));
    EXPECT_EQ(still.facts.changes, std::vector<std::string>{"first picture of an animation"})
        << file;
  }
}

}  // namespace
}  // namespace fovea::media

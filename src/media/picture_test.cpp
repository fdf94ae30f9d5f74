// Pictures against Pillow's answers in tests/fixtures.
#include "media/picture.h"

#include <gtest/gtest.h>

#include <cstdlib>

#include "core/limits.h"
#include "media/picture/decoders.h"
#include "media/source.h"
#include "support/expect_error.h"
#include "support/fixtures.h"

namespace fovea::media {
namespace {

using testing::fixture_path;
using testing::read_fixture;

MediaBytes fixture_media(const std::string& file) {
  return load_media(fixture_path(file).string(), SourcePolicy::own_files());
}

Image drawn_picture(int width, int height) {
  Image image;
  image.size = {width, height};
  for (int i = 0; i < 3 * width * height; ++i) {
    image.rgb.push_back(static_cast<uint8_t>(i * 7 + i / 64));
  }
  return image;
}

void expect_pixels(const Image& out, const std::string& file, int tolerance,
                   const std::string& name) {
  const auto expected = read_file(fixture_path("pillow/files/" + file));
  ASSERT_EQ(out.rgb.size(), expected.size()) << name;
  int worst = 0;
  for (size_t b = 0; b < expected.size(); ++b) {
    worst = std::max(worst, std::abs(int{out.rgb[b]} - static_cast<uint8_t>(expected[b])));
  }
  EXPECT_LE(worst, tolerance) << name;
}

TEST(DecodePicture, EqualsPillowForEveryForm) {
  const Json cases = read_fixture("pillow/files/cases.json")["cases"];
  ASSERT_GT(cases.size(), 120u);
  int differ = 0;  // as they are shown from as they are stored
  for (size_t i = 0; i < cases.size(); ++i) {
    const Json c = cases.at(i);
    const std::string file = c["file"].as_string();
    const MediaBytes media = fixture_media("pillow/files/" + file);
    const Image stored = decode_picture(media, Colours::kStored).image;
    const DecodedPicture shown = decode_picture(media);
    EXPECT_EQ(stored.size, (Size{c["width"].as_int32(), c["height"].as_int32()})) << file;
    const int tolerance = c["tolerance"].as_int32();
    expect_pixels(stored, c["expected"].as_string(), tolerance, file + " as stored");
    const bool differs = c.contains("shown");
    differ += differs;
    expect_pixels(shown.image, c[differs ? "shown" : "expected"].as_string(),
                  differs ? c["shown_tolerance"].as_int32() : tolerance, file + " as shown");
    EXPECT_TRUE(!differs || !shown.facts.changes.empty()) << file;
    EXPECT_FALSE(shown.facts.format.empty());
  }
  EXPECT_GT(differ, 20);
  std::printf("%zu pictures equal Pillow's\n", cases.size());
}

TEST(DecodePicture, RefusesBadPicturesWithTheirName) {
  const Json cases = read_fixture("bad/cases.json")["pictures"];
  ASSERT_GT(cases.size(), 10u);
  for (size_t i = 0; i < cases.size(); ++i) {
    const std::string file = cases.at(i)["file"].as_string();
    const auto media = fixture_media("bad/pictures/" + file);
    if (cases.at(i)["expect"].as_string() == "refuse") {
      EXPECT_THROW(
          {
            try {
              decode_picture(media);
            } catch (const Error& error) {
              EXPECT_NE(std::string(error.what()).find(file), std::string::npos) << error.what();
              throw;
            }
          },
          Error)
          << file << ": " << cases.at(i)["why"].as_string();
    } else {
      EXPECT_NO_THROW(decode_picture(media)) << file;
    }
  }
  EXPECT_ERROR(decode_picture(fixture_media("bad/pictures/bomb_13000.png")), ErrorKind::kTooLarge,
               "13000x13000");
}

TEST(DecodePicture, HoldsItsLimits) {
  constexpr int64_t kSide = 8192;
  static_assert(kSide * kSide == kPicturePixelsMax);
  EXPECT_NO_THROW(picture::check_size("p", kSide, kSide - 1));
  EXPECT_NO_THROW(picture::check_size("p", kSide, kSide));
  EXPECT_ERROR(picture::check_size("p", kSide, kSide + 1), ErrorKind::kTooLarge, "8192x8193");
  EXPECT_NO_THROW(picture::check_size("p", kPictureSideMax, 1));
  EXPECT_ERROR(picture::check_size("p", 1, kPictureSideMax + 1), ErrorKind::kTooLarge, "1x65536");
  EXPECT_ERROR(picture::check_size("p", 0, 1), ErrorKind::kInvalidData, "0x1");
}

TEST(DecodePicture, RefusesAJpegOfEndlessScans) {
  const std::string jpeg = read_file(fixture_path("pillow/files/progressive.jpg"));
  constexpr std::string_view kScan = "\xFF\xDA";
  int scans = 0;
  for (size_t at = jpeg.find(kScan); at != jpeg.npos; at = jpeg.find(kScan, at + 1)) ++scans;
  ASSERT_GT(scans, 1);
  const auto with_scans = [&](int wanted) {
    const size_t scan = jpeg.rfind(kScan);
    const size_t end = jpeg.size() - 2;
    std::string bytes = jpeg.substr(0, end);
    for (int i = scans; i < wanted; ++i) bytes += jpeg.substr(scan, end - scan);
    return MediaBytes{"scans.jpg", bytes + jpeg.substr(end)};
  };
  EXPECT_NO_THROW(decode_picture(with_scans(kJpegScansMax - 1)));
  EXPECT_NO_THROW(decode_picture(with_scans(kJpegScansMax)));
  EXPECT_ERROR(decode_picture(with_scans(kJpegScansMax + 1)), ErrorKind::kInvalidData,
               "'scans.jpg' but got more than 100 scans");
  // Large pictures may have fewer.
  constexpr int64_t kSide = 8192;
  static_assert(kSide * kSide == kPicturePixelsMax);
  EXPECT_TRUE(picture::are_scans_within_limits(20, kSide, kSide));
  EXPECT_FALSE(picture::are_scans_within_limits(21, kSide, kSide));
  EXPECT_TRUE(picture::are_scans_within_limits(20, kSide, kSide - 1));
  EXPECT_FALSE(picture::are_scans_within_limits(kJpegScansMax + 1, 1, 1));
}

TEST(EncodePng, IsReadAsItWas) {
  const Image drawn = drawn_picture(37, 21);
  const std::string png = encode_png(drawn);
  const Image read = decode_picture({"drawn", png}).image;
  EXPECT_EQ(read.size, drawn.size);
  EXPECT_TRUE(std::equal(read.rgb.begin(), read.rgb.end(), drawn.rgb.begin(), drawn.rgb.end()));
}

}  // namespace
}  // namespace fovea::media

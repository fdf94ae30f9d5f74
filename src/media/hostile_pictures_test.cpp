// Pictures made to harm: cut, changed byte by byte, and lying headers. After each the same good
// picture must come out as ever.
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <regex>

#include "base/json.h"
#include "core/limits.h"
#include "media/picture.h"
#include "support/expect_error.h"
#include "support/fixtures.h"

namespace fovea::media {
namespace {

using testing::fixture_path;
using std::string_literals::operator""s;

std::vector<std::string> fixture_files() {
  const Json cases = testing::read_fixture("pillow/files/cases.json")["cases"];
  std::vector<std::string> files;
  for (size_t i = 0; i < cases.size(); ++i) files.push_back(cases.at(i)["file"].as_string());
  return files;
}

std::string bytes_of(const std::string& file) {
  return read_file(fixture_path("pillow/files/" + file));
}

std::string number(uint64_t value, int bytes, bool big) {
  std::string text;
  for (int i = 0; i < bytes; ++i) {
    const int shift = 8 * (big ? bytes - 1 - i : i);
    text += static_cast<char>(value >> shift & 0xFF);
  }
  return text;
}
std::string be32(uint64_t value) { return number(value, 4, true); }
std::string le32(uint64_t value) { return number(value, 4, false); }
std::string le16(uint64_t value) { return number(value, 2, false); }

// A pointer, or a place in a source.
const std::regex kInside("0x[0-9a-f]{6,}|\\.(cpp|cc|c|h):");

class HostilePictures : public ::testing::Test {
 protected:
  // Whether it was refused. A sentence must name the file and nothing of the inside.
  bool is_refused(const std::string& bytes, const std::string& what) {
    const auto begin = std::chrono::steady_clock::now();
    bool refused = false;
    try {
      const auto picture = decode_picture({"bad.bin", bytes});
      EXPECT_EQ(picture.image.rgb.size(), static_cast<size_t>(3 * picture.image.size.area()));
    } catch (const Error& error) {
      refused = true;
      const std::string text = error.what();
      EXPECT_NE(text.find("bad.bin"), std::string::npos) << what << ": " << text;
      EXPECT_FALSE(std::regex_search(text, kInside)) << what << ": " << text;
      EXPECT_EQ(text.find('\n'), std::string::npos) << what << ": " << text;
    }
    EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(10)) << what;
    const auto after = decode_picture({"good.png", good_});
    EXPECT_TRUE(after.image.rgb == expected_) << "after " << what;
    tried_ += 1;
    refused_ += refused;
    return refused;
  }

  std::string good_ = bytes_of("rgb_8.png");
  PageVector<uint8_t> expected_ = decode_picture({"good.png", good_}).image.rgb;
  int tried_ = 0;
  int refused_ = 0;
};

TEST_F(HostilePictures, CutAnywhere) {
  for (const auto& file : fixture_files()) {
    const std::string bytes = bytes_of(file);
    for (int step = 0; step < 12; ++step)
      is_refused(bytes.substr(0, bytes.size() * step / 12), file);
    for (const size_t size : {1u, 2u, 3u, 8u, 12u, 16u, 30u}) {
      is_refused(bytes.substr(0, size), file);
    }
  }
  // Of a picture without padding, half is never a whole one.
  for (const char* file : {"rgb.tif", "tiled_lzw.tif", "rgb.bmp", "rgb.ppm", "rgb.qoi",
                           "smooth.avif", "smooth.heic", "plain.gif", "lossy.webp", "cmyk.jpg"}) {
    const std::string bytes = bytes_of(file);
    EXPECT_TRUE(is_refused(bytes.substr(0, bytes.size() / 2), file)) << file;
  }
  EXPECT_GT(refused_, 150);
  std::printf("%d cut pictures, %d of them refused\n", tried_, refused_);
}

TEST_F(HostilePictures, WithChangedBytes) {
  uint32_t state = 1;
  const auto any = [&](size_t below) {
    state = state * 1664525 + 1013904223;
    return static_cast<size_t>(state >> 8) % below;
  };
  for (const auto& file : fixture_files()) {
    const std::string bytes = bytes_of(file);
    for (int round = 0; round < 15; ++round) {
      std::string changed = bytes;
      // Headers are where the harm is.
      const size_t within = round % 3 == 0 ? bytes.size() : std::min<size_t>(bytes.size(), 200);
      for (size_t i = 0; i <= any(4); ++i) {
        constexpr std::array kValues = {0x00, 0xFF, 0x7F, 0x80, 0x01};
        const size_t choice = any(kValues.size() + 1);
        changed[any(within)] =
            static_cast<char>(choice < kValues.size() ? kValues[choice] : any(256));
      }
      is_refused(changed, fmt::format("{} in round {}", file, round));
    }
  }
  EXPECT_GT(refused_, 150);
  std::printf("%d changed pictures, %d of them refused\n", tried_, refused_);
}

std::string bmp_header(uint64_t width, uint64_t height, int bits, uint64_t kind = 0) {
  return "BM"s + le32(100) + le32(0) + le32(54) + le32(40) + le32(width) + le32(height) + le16(1) +
         le16(static_cast<uint64_t>(bits)) + le32(kind) + le32(0) + le32(0) + le32(0) + le32(0) +
         le32(0) + std::string(64, '\x7F');
}

// A little-endian TIFF of one directory; an entry is tag, type, count and value.
std::string tiff(const std::vector<std::array<uint64_t, 4>>& entries, uint64_t next = 0) {
  std::string bytes = "II*\0"s + le32(8) + le16(entries.size());
  for (const auto& [tag, type, count, value] : entries) {
    bytes += le16(tag) + le16(type) + le32(count) + le32(value);
  }
  return bytes + le32(next) + std::string(256, '\x55');
}

std::vector<std::array<uint64_t, 4>> tiff_entries(uint64_t width, uint64_t height) {
  return {{256, 4, 1, width}, {257, 4, 1, height}, {258, 3, 1, 8},
          {259, 3, 1, 1},     {262, 3, 1, 1},      {273, 4, 1, 150},
          {277, 3, 1, 1},     {278, 4, 1, height}, {279, 4, 1, width * height}};
}

struct Lie {
  std::string what;
  std::string bytes;
};

std::vector<Lie> huge_pictures() {
  std::vector<Lie> lies;
  for (const auto& [w, h] : std::vector<std::pair<uint64_t, uint64_t>>{{0, 0},
                                                                       {0, 1},
                                                                       {1, 0},
                                                                       {65536, 1},
                                                                       {1, 65536},
                                                                       {8193, 8193},
                                                                       {65535, 65535},
                                                                       {0x7FFFFFFF, 0x7FFFFFFF},
                                                                       {0xFFFFFFFF, 0xFFFFFFFF},
                                                                       {0x80000000, 2},
                                                                       {1u << 30, 4}}) {
    const std::string size = fmt::format("{}x{}", w, h);
    lies.push_back({"png " + size, "\x89PNG\r\n\x1a\n"s + be32(13) + "IHDR" + be32(w) + be32(h) +
                                       "\x08\x02\0\0\0"s + be32(0)});
    lies.push_back({"bmp " + size, bmp_header(w, h, 24)});
    lies.push_back(
        {"qoi " + size, "qoif" + be32(w) + be32(h) + "\x03\0"s + std::string(64, '\xC0')});
    lies.push_back({"ppm " + size, fmt::format("P6 {} {} 255\n", w, h) + std::string(64, 'x')});
    lies.push_back({"pam " + size,
                    fmt::format("P7\nWIDTH {}\nHEIGHT {}\nDEPTH 3\nMAXVAL 255\nENDHDR\n", w, h)});
    lies.push_back({"tiff " + size, tiff(tiff_entries(w, h))});
    lies.push_back({"gif " + size, "GIF89a" + le16(w & 0xFFFF) + le16(h & 0xFFFF) + "\0\0\0,"s +
                                       le16(0) + le16(0) + le16(w & 0xFFFF) + le16(h & 0xFFFF) +
                                       "\0\x02\x02\x44\x01\0;"s});
    lies.push_back({"jpeg " + size, "\xFF\xD8\xFF\xC0\0\x0B\x08"s + number(h & 0xFFFF, 2, true) +
                                        number(w & 0xFFFF, 2, true) + "\x01\x01\x11\0\xFF\xD9"s});
    lies.push_back({"webp " + size, "RIFF" + le32(30) + "WEBPVP8X" + le32(10) + "\0\0\0\0"s +
                                        le32(w - 1).substr(0, 3) + le32(h - 1).substr(0, 3)});
  }
  return lies;
}

TEST_F(HostilePictures, WithHugeOrNoSides) {
  for (const auto& lie : huge_pictures()) EXPECT_TRUE(is_refused(lie.bytes, lie.what)) << lie.what;
  EXPECT_GE(tried_, 99);
  EXPECT_ERROR(decode_picture({"b.bmp", bmp_header(8193, 8193, 24)}), ErrorKind::kTooLarge,
               "8193x8193");
  EXPECT_ERROR(decode_picture({"b.qoi", "qoif" + be32(9000) + be32(9000) + "\x03\0"s}),
               ErrorKind::kTooLarge, "9000x9000");
  EXPECT_ERROR(decode_picture({"b.ppm", "P6 9000 9000 255\n"}), ErrorKind::kTooLarge, "9000x9000");
  EXPECT_ERROR(decode_picture({"b.tif", tiff(tiff_entries(9000, 9000))}), ErrorKind::kTooLarge,
               "9000x9000");
}

TEST_F(HostilePictures, WithOddTiffDirectories) {
  const auto with = [](std::array<uint64_t, 4> entry) {
    auto entries = tiff_entries(10, 10);
    entries.erase(std::remove_if(entries.begin(), entries.end(),
                                 [&](const auto& e) { return e[0] == entry[0]; }),
                  entries.end());
    entries.push_back(entry);
    std::sort(entries.begin(), entries.end());
    return tiff(entries);
  };
  EXPECT_FALSE(is_refused(with({278, 4, 1, 10}), "the same"));
  const std::vector<std::array<uint64_t, 4>> bad = {
      {258, 3, 1, 0},          {258, 3, 1, 3},     {258, 3, 1, 32},         {258, 3, 1, 65535},
      {259, 3, 1, 0},          {259, 3, 1, 4711},  {262, 3, 1, 8},          {262, 3, 1, 99},
      {277, 3, 1, 0},          {277, 3, 1, 65535}, {273, 4, 1, 0x40000000}, {273, 4, 1, 0xFFFFFFFF},
      {279, 4, 1, 0xFFFFFFFF}, {339, 3, 1, 3},     {322, 4, 1, 0x80000000}, {262, 3, 1, 3},
      {262, 3, 1, 5},          {277, 3, 1, 17}};
  for (const auto& entry : bad) {
    is_refused(with(entry), fmt::format("tag {} with {}", entry[0], entry[3]));
  }
  EXPECT_GE(refused_, 14);
  // Directories that lead back, or to themselves, and one that begins behind the end.
  EXPECT_FALSE(is_refused(tiff(tiff_entries(10, 10), 8), "a loop of directories"));
  EXPECT_TRUE(is_refused("II*\0"s + le32(0xFFFFFFF0) + "x", "no directory"));
  EXPECT_TRUE(is_refused("II*\0"s + le32(4) + std::string(100, '\xFF'), "a directory of itself"));
  EXPECT_TRUE(is_refused("II*\0"s + le32(8) + le16(65535) + std::string(300, '\1'), "65535 tags"));
}

TEST_F(HostilePictures, ThatAreSomethingElse) {
  const std::vector<std::string> others = {
      "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nfile:///etc/passwd\n",
      "#EXTM3U\nhttp://127.0.0.1/a.ts\n",
      "ffconcat version 1.0\nfile /etc/passwd\n",
      "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\nc=IN IP4 127.0.0.1\r\nm=video 1 RTP/AVP 96\r\n",
      "<svg xmlns='http://www.w3.org/2000/svg'><image href='file:///etc/passwd'/></svg>",
      "<?xml version='1.0'?><!DOCTYPE x [<!ENTITY y SYSTEM 'file:///etc/passwd'>]><svg>&y;</svg>",
      "%!PS-Adobe-3.0 EPSF-3.0\n(/etc/passwd) (r) file",
      "push graphic-context\nimage over 0,0 0,0 'https://127.0.0.1/'\n",
      "PK\x03\x04" + std::string(100, '\0'),
      "\x7f"
      "ELF" +
          std::string(100, '\0'),
      "BM of a letter that begins so",
      "P9 1 1 255\n",
      "RIFF" + le32(100) + "AVI " + std::string(90, '\0'),
      "RIFF" + le32(100) + "WAVE" + std::string(90, '\0'),
      be32(24) + "ftypisom" + std::string(90, '\0'),
      be32(24) + "ftypheic" + std::string(90, '\0'),
      be32(24) + "ftypavif" + std::string(8, '\0') + be32(0xFFFFFFFF) + "meta" +
          std::string(90, '\1'),
      "\0"s,
      std::string(1000, '\0'),
      std::string(1000, '\xFF'),
      " ",
      "not a picture",
  };
  for (const auto& other : others) EXPECT_TRUE(is_refused(other, other.substr(0, 20))) << other;
}

// A whole picture in front of other bytes, or named otherwise, is that picture.
TEST_F(HostilePictures, NamesAndTailsSayNothing) {
  for (const char* file : {"rgb_8.png", "plain.gif", "cmyk.jpg", "rgb.tif", "rgb.bmp"}) {
    const std::string bytes = bytes_of(file);
    const auto plain = decode_picture({"a", bytes});
    const auto renamed = decode_picture({"a.jpg", bytes + std::string(5000, '<')});
    EXPECT_TRUE(plain.image.rgb == renamed.image.rgb) << file;
  }
}

}  // namespace
}  // namespace fovea::media

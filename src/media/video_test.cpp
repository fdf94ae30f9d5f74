#include "media/video.h"

#include <gtest/gtest.h>

#include <numeric>

#include "media/ffmpeg.h"
#include "support/clips.h"
#include "support/expect_error.h"

namespace fovea::media {
namespace {

using testing::make_clip;
using testing::moving;
using testing::TemporaryFolder;
using testing::video_file;

std::vector<std::string> frames_of(Video& video, const std::vector<int>& numbers) {
  std::vector<std::string> frames;
  video.read(numbers, [&](size_t place, const Image& image) {
    EXPECT_EQ(place, frames.size());
    frames.emplace_back(image.rgb.begin(), image.rgb.end());
  });
  return frames;
}

VideoInput in_memory(const std::string& bytes) {
  return {"bytes", std::make_shared<const std::string>(bytes), nullptr, {}};
}

std::vector<int> all_numbers(const Video& video) {
  std::vector<int> numbers(video.info().times.size());
  std::iota(numbers.begin(), numbers.end(), 0);
  return numbers;
}

// Every frame of the clip as the ffmpeg tool gives it.
std::vector<std::string> frames_by_tool(const TemporaryFolder& folder,
                                        const std::filesystem::path& clip, Size size) {
  const auto raw = make_clip(folder, "frames.raw",
                             "-i " + clip.string() +
                                 " -map 0:v:0 -vf scale=flags=bicubic -vsync passthrough"
                                 " -pix_fmt rgb24 -f rawvideo");
  const std::string bytes = read_file(raw);
  const auto frame = static_cast<size_t>(size.width) * static_cast<size_t>(size.height) * 3;
  EXPECT_EQ(bytes.size() % frame, 0u);
  std::vector<std::string> frames;
  for (size_t at = 0; at < bytes.size(); at += frame) frames.push_back(bytes.substr(at, frame));
  return frames;
}

struct Form {
  const char* file;
  const char* encoding;
  double fps = 25;  // of the clip, where times are exact multiples
};

void PrintTo(const Form& form, std::ostream* out) { *out << form.file; }

class Forms : public ::testing::TestWithParam<Form> {};

// Numbers, times and pixels of all frames, then of a few, which are reached by key frames.
TEST_P(Forms, GiveTheFramesOfTheTool) {
  const TemporaryFolder folder;
  const Form& form = GetParam();
  const auto clip = make_clip(folder, form.file, moving(98, 66, 25, 6) + " " + form.encoding);
  auto video = Video::open(video_file(clip));
  const auto expected = frames_by_tool(folder, clip, {98, 66});
  EXPECT_EQ(video->info().size, (Size{98, 66}));
  ASSERT_EQ(video->info().times.size(), expected.size());
  EXPECT_TRUE(video->info().constant_rate);
  EXPECT_NEAR(video->info().fps, form.fps, 1e-2);
  EXPECT_NEAR(video->info().duration, static_cast<double>(expected.size()) / form.fps, 2e-2);
  for (size_t i = 0; i < expected.size(); ++i) {
    EXPECT_NEAR(video->info().times[i], static_cast<double>(i) / form.fps, 2e-3);
  }
  EXPECT_EQ(frames_of(*video, all_numbers(*video)), expected);
  const auto last = static_cast<int>(expected.size()) - 1;
  for (const auto& numbers : std::vector<std::vector<int>>{
           {0, 30, 31, 90, last}, {last}, {60, 61, 61, 62}, {3}, {0}, {20, 100}}) {
    const auto some = frames_of(*Video::open(video_file(clip)), numbers);
    const auto again = frames_of(*video, numbers);  // after others were read
    ASSERT_EQ(some.size(), numbers.size());
    for (size_t i = 0; i < numbers.size(); ++i) {
      EXPECT_EQ(some[i], expected[static_cast<size_t>(numbers[i])]) << numbers[i];
      EXPECT_EQ(again[i], expected[static_cast<size_t>(numbers[i])]) << numbers[i];
    }
  }
}

INSTANTIATE_TEST_SUITE_P(
    Clips, Forms,
    ::testing::Values(
        Form{"h264.mp4", "-c:v libx264 -g 12 -bf 3 -pix_fmt yuv420p"},
        Form{"long_gops.mp4", "-c:v libx264 -g 50 -bf 3 -pix_fmt yuv420p"},
        Form{"open_gop.mkv", "-c:v libx264 -g 15 -bf 2 -x264-params open-gop=1 -pix_fmt yuv420p"},
        Form{"fragmented.mp4", "-c:v libx264 -g 12 -pix_fmt yuv420p -movflags +frag_keyframe"},
        Form{"front.mp4", "-c:v libx264 -g 12 -pix_fmt yuv444p -movflags +faststart"},
        Form{"hevc.mp4", "-c:v libx265 -x265-params log-level=none:keyint=20 -pix_fmt yuv420p10le"},
        Form{"bt709.mp4", "-c:v libx264 -pix_fmt yuv420p -colorspace bt709 -color_range pc"},
        Form{"vp9.webm", "-c:v libvpx-vp9 -g 20 -cpu-used 8 -deadline realtime"},
        Form{"vp8.webm", "-c:v libvpx -g 20 -auto-alt-ref 1 -lag-in-frames 10"},
        Form{"av1.mkv", "-c:v libaom-av1 -cpu-used 8 -usage realtime -g 25"},
        Form{"mpeg4.avi", "-c:v mpeg4 -g 12 -bf 2"}, Form{"mjpeg.avi", "-c:v mjpeg"},
        Form{"prores.mov", "-c:v prores"}, Form{"h264.ts", "-c:v libx264 -g 12 -bf 2"},
        Form{"h264.flv", "-c:v libx264 -g 12 -bf 2"}, Form{"theora.ogg", "-c:v libtheora -g 12"},
        Form{"mpeg2.mpg", "-c:v mpeg2video -g 12 -bf 2"}, Form{"ffv1.mkv", "-c:v ffv1"},
        Form{"clip.gif", ""}, Form{"clip.apng", "-f apng -plays 0"}),
    [](const auto& param) {
      std::string name = param.param.file;
      std::replace(name.begin(), name.end(), '.', '_');
      return name;
    });

// The tool turns frames by itself, before it converts their colours.
TEST(Video, TurnsFramesAsTheFileSays) {
  const TemporaryFolder folder;
  const auto stored = make_clip(folder, "stored.mp4", moving(64, 48, 5, 1) + " -c:v libx264 -qp 0");
  for (const int degrees : {0, 90, 180, 270}) {
    const auto turned =
        make_clip(folder, "turned.mov",
                  fmt::format("-i {} -c copy -metadata:s:v:0 rotate={}", stored.string(), degrees));
    const Size size = degrees % 180 == 0 ? Size{64, 48} : Size{48, 64};
    const auto expected = frames_by_tool(folder, turned, size);
    auto video = Video::open(video_file(turned));
    EXPECT_EQ(video->info().size, size) << degrees;
    const auto got = frames_of(*video, {0, 3});
    ASSERT_EQ(expected.size(), 5u);
    int64_t apart = 0;  // chroma is halved before one turn and after the other
    for (size_t i = 0; i < got[1].size(); ++i) {
      apart += std::abs(uint8_t(got[1][i]) - uint8_t(expected[3][i]));
    }
    EXPECT_LT(static_cast<double>(apart) / static_cast<double>(got[1].size()), 4) << degrees;
  }
}

TEST(Video, TellsTimesThatVary) {
  const TemporaryFolder folder;
  const auto clip = make_clip(
      folder, "vfr.mkv",
      moving(64, 48, 10, 3) + " -vf 'select=not(between(n\\,5\\,14))' -vsync vfr -c:v libx264");
  auto video = Video::open(video_file(clip));
  EXPECT_FALSE(video->info().constant_rate);
  ASSERT_EQ(video->info().times.size(), 20u);
  EXPECT_NEAR(video->info().times[4], 0.4, 1e-3);
  EXPECT_NEAR(video->info().times[5], 1.5, 1e-3);
  EXPECT_NEAR(video->info().times[19], 2.9, 1e-3);
  EXPECT_NEAR(video->info().duration, 3, 0.1);
}

// A part that was cut out without encoding it again: frames before it stay in the file, unseen.
TEST(Video, ShowsWhatAnEditListLeaves) {
  const TemporaryFolder folder;
  const auto whole = make_clip(
      folder, "whole.mp4", moving(64, 48, 25, 4) + " -c:v libx264 -g 25 -bf 2 -pix_fmt yuv420p");
  const auto cut = make_clip(folder, "cut.mp4", "-ss 1.3 -i " + whole.string() + " -t 2 -c copy");
  auto video = Video::open(video_file(cut));
  const auto expected = frames_by_tool(folder, cut, {64, 48});
  ASSERT_EQ(video->info().times.size(), expected.size());
  EXPECT_EQ(frames_of(*video, all_numbers(*video)), expected);
  EXPECT_EQ(frames_of(*video, {40})[0], expected[40]);
}

TEST(Video, OfOneFrameHasATimeToo) {
  const TemporaryFolder folder;
  for (const char* file : {"one.mp4", "one.gif", "one.mkv"}) {
    const auto clip = make_clip(folder, file, moving(32, 32, 25, 1) + " -frames:v 1");
    auto video = Video::open(video_file(clip));
    EXPECT_EQ(video->info().times, std::vector<double>({0})) << file;
    EXPECT_GT(video->info().fps, 0) << file;
    EXPECT_GT(video->info().duration, 0) << file;
    EXPECT_EQ(frames_of(*video, {0, 0}).size(), 2u) << file;
  }
}

TEST(Video, ReadsAnimatedWebp) {
  const TemporaryFolder folder;
  // Every frame of it differs from the last; the encoder joins those that do not.
  const std::string source = "-f lavfi -t 1 -i mandelbrot=size=40x30:rate=10";
  const auto clip =
      make_clip(folder, "clip.webp", source + " -c:v libwebp_anim -lossless 1 -pix_fmt bgra");
  const auto expected = make_clip(folder, "frames.raw", source + " -pix_fmt rgb24 -f rawvideo");
  auto video = Video::open(video_file(clip));
  ASSERT_EQ(video->info().times.size(), 10u);
  EXPECT_TRUE(video->info().constant_rate);
  EXPECT_DOUBLE_EQ(video->info().fps, 10);
  const std::string raw = read_file(expected);
  for (const auto& [numbers, first] : {std::pair{std::vector<int>{0, 7, 9}, 0}, {{3, 3, 4}, 3}}) {
    const auto frames = frames_of(*video, numbers);
    EXPECT_EQ(frames[0], raw.substr(static_cast<size_t>(first) * 3600, 3600));
    EXPECT_EQ(frames[2], raw.substr(static_cast<size_t>(numbers[2]) * 3600, 3600));
  }
}

TEST(Video, ReadsBytesAsItReadsAFile) {
  const TemporaryFolder folder;
  const auto clip = make_clip(folder, "clip.mp4", moving(64, 48, 10, 1) + " -c:v libx264");
  auto of_bytes = Video::open(in_memory(read_file(clip)));
  auto of_file = Video::open(video_file(clip));
  EXPECT_EQ(frames_of(*of_bytes, {0, 9}), frames_of(*of_file, {0, 9}));
}

class Hostile : public ::testing::Test {
 protected:
  Hostile() : good_(make_clip(folder_, "good.mp4", moving(64, 48, 10, 2) + " -c:v libx264")) {
    good_frames_ = frames_of(*Video::open(video_file(good_)), {0, 19});
  }

  // The file is refused with this sentence, and the next good one is read as before.
  void refused(const std::filesystem::path& path, ErrorKind kind, const std::string& sentence,
               const VideoLimits& limits = {}) {
    SCOPED_TRACE(path.filename());
    EXPECT_ERROR(read_all(video_file(path), limits), kind, sentence);
    EXPECT_EQ(frames_of(*Video::open(video_file(good_)), {0, 19}), good_frames_);
  }
  static void read_all(const VideoInput& input, const VideoLimits& limits) {
    auto video = Video::open(input, limits);
    video->read(all_numbers(*video), [](size_t, const Image&) {});
  }

  TemporaryFolder folder_;
  std::filesystem::path good_;
  std::vector<std::string> good_frames_;
};

constexpr const char* kNoVideo = "[video] expected an MP4, MOV, MKV, WebM";

// Nothing that leads elsewhere is followed, whatever it is called.
TEST_F(Hostile, PlaylistsAndScriptsAreNoVideos) {
  const std::string good = good_.string();
  refused(folder_.write("hls.mp4", "#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\n" + good +
                                       "\n#EXT-X-ENDLIST\n"),
          ErrorKind::kInvalidData, kNoVideo);
  refused(folder_.write("concat.mp4", "ffconcat version 1.0\nfile '" + good + "'\n"),
          ErrorKind::kInvalidData, kNoVideo);
  refused(folder_.write("stream.sdp",
                        "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\n"
                        "m=video 5004 RTP/AVP 96\na=rtpmap:96 H264/90000\n"),
          ErrorKind::kInvalidData, kNoVideo);
  refused(
      folder_.write("dash.mp4",
                    "<?xml version=\"1.0\"?><MPD xmlns=\"urn:mpeg:dash:schema:mpd:2011\"><Period>"
                    "<BaseURL>file://" +
                        good + "</BaseURL></Period></MPD>"),
      ErrorKind::kInvalidData, kNoVideo);
  refused(folder_.write("page.svg",
                        "<svg xmlns='http://www.w3.org/2000/svg'><image href='/etc/"
                        "passwd'/></svg>"),
          ErrorKind::kInvalidData, kNoVideo);
  refused(folder_.write("text.mp4", "just some words"), ErrorKind::kInvalidData, kNoVideo);
  refused(folder_.write("zeros.mp4", std::string(5000, '\0')), ErrorKind::kInvalidData, kNoVideo);
  refused(folder_.write("empty.mp4", ""), ErrorKind::kInvalidData, "got 0 bytes");
}

TEST_F(Hostile, SoundAndPicturesAreNoVideos) {
  refused(make_clip(folder_, "sound.m4a", "-f lavfi -i sine=duration=1 -c:a aac"),
          ErrorKind::kInvalidData, "[video] expected a video stream in 'sound.m4a' but got none");
  refused(make_clip(folder_, "picture.jpg", moving(32, 32, 1, 1) + " -frames:v 1"),
          ErrorKind::kInvalidData, kNoVideo);
  refused(make_clip(folder_, "old.wmv", moving(64, 48, 10, 1) + " -c:v wmv2"),
          ErrorKind::kUnsupported, "but got 'wmv2'");
}

TEST_F(Hostile, FilesThatBreakOffAreTold) {
  const auto whole = make_clip(
      folder_, "whole.mp4",
      moving(320, 240, 25, 4) + " -c:v libx264 -g 25 -movflags +faststart -pix_fmt yuv420p");
  const std::string bytes = read_file(whole);
  const auto half = folder_.write("half.mp4", bytes.substr(0, bytes.size() / 2));
  refused(half, ErrorKind::kInvalidData, "expected a whole video in 'half.mp4' but it breaks off");
  VideoSampling first_second;
  first_second.end = 1;
  EXPECT_EQ(frames_of(*Video::open(video_file(half, first_second)), {0, 20}),
            frames_of(*Video::open(video_file(whole)), {0, 20}));
  const auto without_end = make_clip(folder_, "end.mp4", moving(64, 48, 10, 2) + " -c:v libx264");
  const std::string no_table = read_file(without_end);
  refused(folder_.write("cut.mp4", no_table.substr(0, no_table.size() * 2 / 3)),
          ErrorKind::kInvalidData, kNoVideo);
  refused(folder_.write("header.mkv", "\x1A\x45\xDF\xA3\x93\x42\x82\x88matroska"),
          ErrorKind::kInvalidData, kNoVideo);
  const auto webp = read_file(make_clip(folder_, "clip.webp", moving(40, 30, 10, 1)));
  refused(folder_.write("half.webp", webp.substr(0, webp.size() / 2)), ErrorKind::kInvalidData,
          "expected a whole WebP in 'half.webp'");
}

// A flipped byte here and there gives frames or one clear sentence.
TEST_F(Hostile, DamagedBytesNeverDoMore) {
  for (const char* name : {"a.mp4", "b.mkv", "c.avi", "d.gif", "e.webm"}) {
    const bool gif = std::string(name) == "d.gif";
    const std::string bytes =
        read_file(make_clip(folder_, name, moving(64, 48, 10, 1) + (gif ? "" : " -g 5")));
    for (size_t at = 3; at < bytes.size(); at += bytes.size() / 40 + 1) {
      std::string damaged = bytes;
      damaged[at] = static_cast<char>(damaged[at] ^ 0x55);
      try {
        read_all(in_memory(damaged), {});
      } catch (const Error& error) {
        EXPECT_EQ(std::string(error.what()).rfind("[video] expected", 0), 0u) << error.what();
      }
    }
  }
  EXPECT_EQ(frames_of(*Video::open(video_file(good_)), {0, 19}), good_frames_);
}

// Each at its edge.
TEST_F(Hostile, LimitsHold) {
  VideoLimits limits;
  const auto read = [&] { read_all(video_file(good_), limits); };
  limits.frames = 20;
  EXPECT_NO_THROW(read());
  limits.frames = 19;
  refused(good_, ErrorKind::kTooLarge, "expected at most 19 frames in 'good.mp4'", limits);
  limits = {};
  limits.frame_pixels = 64 * 48;
  EXPECT_NO_THROW(read());
  limits.frame_pixels = 64 * 48 - 1;
  refused(good_, ErrorKind::kTooLarge, "but got 64x48", limits);
  limits = {};
  limits.seconds = 1.91;
  EXPECT_NO_THROW(read());
  limits.seconds = 1.89;
  refused(good_, ErrorKind::kTooLarge, "expected at most 1.89 s in 'good.mp4' but got 1.900",
          limits);
  limits = {};
  limits.decode_seconds = 0;
  refused(good_, ErrorKind::kTooLarge, "to be read within 0 s", limits);
  const std::string bytes = read_file(good_);
  limits = {};
  limits.bytes = bytes.size();
  EXPECT_NO_THROW(Video::open(in_memory(bytes), limits));
  limits.bytes = bytes.size() - 1;
  EXPECT_ERROR(Video::open(in_memory(bytes), limits), ErrorKind::kTooLarge, "bytes");
}

// A header that promises more than any memory holds.
TEST_F(Hostile, HugeFramesAreRefusedBeforeTheyAreDecoded) {
  std::string gif = read_file(make_clip(folder_, "clip.gif", moving(64, 48, 10, 1)));
  gif.replace(6, 4, "\xFF\xFF\xFF\xFF");
  refused(folder_.write("huge.gif", gif), ErrorKind::kTooLarge, "but got 65535x65535");
  std::string avi =
      read_file(make_clip(folder_, "clip.avi", moving(64, 48, 10, 1) + " -c:v mjpeg"));
  const size_t strf = avi.find("strf");
  ASSERT_NE(strf, std::string::npos);
  avi.replace(strf + 12, 8, std::string("\xE8\xFD\0\0\xE8\xFD\0\0", 8));  // 65000 x 65000
  const auto path = folder_.write("huge.avi", avi);
  try {
    read_all(video_file(path), {});  // the pictures within say the truth
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kTooLarge) << error.what();
  }
}

TEST(Ffmpeg, IsMissedInOneSentence) {
  EXPECT_ERROR(load_ffmpeg(".nowhere"), ErrorKind::kUnsupported,
               "[media] expected FFmpeg's library libavformat.so.");
}

}  // namespace
}  // namespace fovea::media

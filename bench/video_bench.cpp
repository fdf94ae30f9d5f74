// How long does a video take from its file to what a tower is given, and how much memory? One JSON
// object a line, then a table. The clip (10 minutes of 1080p at 25 frames a second, H.264 with
// x264's usual key frames, or SECONDS WIDTHxHEIGHT) is made by the ffmpeg tool under build/bench on
// first use; the limit is that tool, which decodes every frame of it and throws them away. Runs
// once: it takes minutes.
#include <sys/resource.h>
#include <sys/wait.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

#include "base/error.h"
#include "base/thread_pool.h"
#include "core/checkpoint.h"
#include "media/source.h"
#include "media/video.h"
#include "processors/video_processor.h"
#include "report.h"
#include "stopwatch.h"

namespace {

using namespace fovea;

void run(const std::string& line) {
  const int status = std::system(line.c_str());
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
    fail(ErrorKind::kIo, "[bench] expected success of '{}' but got {}", line, status);
  }
}

// Twenty seconds that are repeated, key frames and all.
std::string clip(int seconds, const std::string& size) {
  const std::filesystem::path folder = "build/bench";
  std::filesystem::create_directories(folder);
  const auto whole = folder / fmt::format("clip-{}-{}.mp4", size, seconds);
  if (std::filesystem::exists(whole)) return whole.string();
  const auto part = (folder / "part.mp4").string();
  const int length = std::min(seconds, 20);
  run(fmt::format(
      "ffmpeg -nostdin -v error -y -f lavfi -i testsrc2=size={}:rate=25:duration={} "
      "-vf noise=alls=4:allf=t -c:v libx264 -preset veryfast -crf 26 -bf 3 -pix_fmt yuv420p {}",
      size, length, part));
  run(fmt::format("ffmpeg -nostdin -v error -y -stream_loop {} -i {} -c copy {}",
                  (seconds + length - 1) / length - 1, part, whole.string()));
  std::filesystem::remove(part);
  return whole.string();
}

// Processor time of this process, or of those it waited for.
double cpu_seconds(int who) {
  rusage usage{};
  ::getrusage(who, &usage);
  const auto seconds = [](const timeval& t) { return double(t.tv_sec) + 1e-6 * double(t.tv_usec); };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

// On the clock and of the processors.
struct Spent {
  double wall;
  double cpu;
};
template <class Work>
Spent spent(int who, Work work) {
  const double begin = bench::seconds();
  const double cpu = cpu_seconds(who);
  work();
  return {bench::seconds() - begin, cpu_seconds(who) - cpu};
}

double peak_megabytes() {
  std::ifstream status("/proc/self/status");
  std::string word;
  double kilobytes = 0;
  while (status >> word && word != "VmHWM:") continue;
  status >> kilobytes;
  return kilobytes / 1024;
}

// Qwen3-VL's processor with its released settings.
std::unique_ptr<processors::VideoProcessor> processor() {
  const std::filesystem::path folder = "build/bench/video-settings";
  std::filesystem::create_directories(folder);
  std::ofstream(folder / "config.json") << R"({"model_type": "qwen3_vl"})";
  std::ofstream(folder / "video_preprocessor_config.json")
      << R"({"size": {"longest_edge": 25165824, "shortest_edge": 4096}, "patch_size": 16})";
  return processors::make_qwen3_vl_video_processor(open_checkpoint(folder.string()));
}

}  // namespace

int main(int argc, char** argv) {
  const int seconds = argc > 1 ? std::stoi(argv[1]) : 600;
  const std::string size = argc > 2 ? argv[2] : "1920x1080";
  const std::string path = clip(seconds, size);
  const auto qwen = processor();
  const auto label = fmt::format("{} s of {}", seconds, size);
  const double before = peak_megabytes();

  VideoSampling sampling;
  sampling.fps = 1;
  std::unique_ptr<media::Video> video;
  processors::ProcessedVideo processed;
  const Spent open = spent(RUSAGE_SELF, [&] {
    video = media::Video::open(media::load_video(path, sampling, media::SourcePolicy::own_files()));
  });
  const Spent read = spent(RUSAGE_SELF, [&] { processed = qwen->process(*video, sampling, path); });
  const double grown = peak_megabytes() - before;
  const Spent tool = spent(RUSAGE_CHILDREN, [&] {
    run(fmt::format("ffmpeg -nostdin -v error -threads {} -i {} -an -f null -",
                    ThreadPool::instance().size(), path));
  });
  {
    bench::Report report;
    const auto with_cpu = [](const Spent& s) {
      JsonObject line;
      line.set("cpu_s", s.cpu);
      return line;
    };
    JsonObject more = with_cpu(read);
    more.set("frames", static_cast<int64_t>(processed.choice.frames.size()))
        .set("of", static_cast<int64_t>(video->info().times.size()))
        .set("tokens", processed.tokens)
        .set("mbytes", static_cast<double>(std::filesystem::file_size(path)) / 1e6);
    report.add("times of all frames, " + label, open.wall, "s", -1, with_cpu(open));
    report.add("1 frame a second, " + label, read.wall, "s", tool.cpu / read.cpu, more);
    report.add("the tool, all frames decoded", tool.wall, "s", -1, with_cpu(tool));
    report.add("growth at most", grown, "MB");
    report.add("of it pixels for the tower",
               static_cast<double>(processed.pixels.data.size()) * 4 / 1e6, "MB");
  }
  return 0;
}

// How long does a picture take from its bytes to what a tower is given, and how much memory? One
// JSON object a line, then a table; medians. A wide JPEG has a colour profile, a clear PNG is half
// transparent, each with work of ours behind the library's. The limit of a decoder is its library
// alone, into memory that is there. "Growth at most" is by how much the process grew on the whole
// way. `images_bench 640x480 ...` takes other sizes.
#include <malloc.h>

#include <array>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "base/json.h"
#include "core/checkpoint.h"
#include "encoded.h"
#include "media/picture.h"
#include "processors/image_processor.h"
#include "report.h"
#include "stopwatch.h"

namespace {

using namespace fovea;

struct Format {
  const char* name;
  std::string (*encode)(const Image&);
  void (*plain)(const std::string&, Image&);
};
constexpr std::array kFormats = {Format{"jpeg", bench::as_jpeg, bench::plain_jpeg},
                                 Format{"turned jpeg", bench::as_turned_jpeg, bench::plain_jpeg},
                                 Format{"wide jpeg", bench::as_wide_jpeg, bench::plain_jpeg},
                                 Format{"png", bench::as_png, bench::plain_png},
                                 Format{"clear png", bench::as_clear_png, bench::plain_clear_png},
                                 Format{"tiff", bench::as_tiff, bench::plain_tiff},
                                 Format{"webp", bench::as_webp, bench::plain_webp}};

struct Family {
  const char* name;
  const char* config;
};
constexpr std::array kFamilies = {
    Family{"clip-336",
           R"({"image_processor_type": "CLIPImageProcessor", "size": 336, "crop_size": 336})"},
    Family{
        "siglip-512",
        R"({"image_processor_type": "SiglipImageProcessor", "size": {"height": 512, "width": 512}})"},
    Family{"qwen2_vl", R"({"image_processor_type": "Qwen2VLImageProcessor"})"}};

// A checkpoint folder of these two files alone, gone with this.
class Folder {
 public:
  explicit Folder(const char* preprocessor) {
    std::string name = (std::filesystem::temp_directory_path() / "fovea-bench-XXXXXX").string();
    path_ = ::mkdtemp(name.data());
    std::ofstream(path_ / "preprocessor_config.json") << preprocessor;
    std::ofstream(path_ / "config.json") << R"({"model_type": "any", "vision_config": {}})";
  }
  ~Folder() { std::filesystem::remove_all(path_); }
  std::string path() const { return path_.string(); }

 private:
  std::filesystem::path path_;
};

// A line of /proc/self/status in megabytes.
double megabytes(const std::string& key) {
  std::ifstream status("/proc/self/status");
  std::string word;
  double kilobytes = 0;
  while (status >> word && word != key) continue;
  status >> kilobytes;
  return kilobytes / 1024;
}

// By how many megabytes `work` makes the process grow at most.
template <class Work>
double growth(Work work) {
  ::malloc_trim(0);
  std::ofstream("/proc/self/clear_refs") << 5;  // VmHWM begins anew
  const double before = megabytes("VmRSS:");
  work();
  return megabytes("VmHWM:") - before;
}

using Processors = std::vector<std::unique_ptr<processors::ImageProcessor>>;

void bench_decoding(bench::Report& report, const std::string& label, Image& scene) {
  for (const auto& format : kFormats) {
    const MediaBytes media{label, format.encode(scene)};
    const double library = bench::median_seconds([&] { format.plain(media.bytes, scene); });
    const double ours = bench::median_seconds([&] { media::decode_picture(media); });
    JsonObject more;
    more.set("megapixels_per_s", double(scene.size.area()) / 1e6 / ours)
        .set("library_ms", library * 1e3)
        .set("mbytes", double(media.bytes.size()) / 1e6);
    report.add(fmt::format("decode {} {}", format.name, label), ours * 1e3, "ms", library / ours,
               more);
  }
}

void bench_size(bench::Report& report, Size size, const Processors& all) {
  const auto label = fmt::format("{}x{}", size.width, size.height);
  Image scene = bench::scene(size);
  bench_decoding(report, label, scene);
  for (size_t i = 0; i < kFamilies.size(); ++i) {
    const double s = bench::median_seconds([&] { all[i]->process(scene, label); });
    report.add(fmt::format("{} of {}", kFamilies[i].name, label), s * 1e3, "ms");
  }
  const MediaBytes jpeg{label, bench::as_jpeg(scene)};
  scene = {};
  for (size_t i = 0; i < kFamilies.size(); ++i) {
    const auto work = [&] { all[i]->process(media::decode_picture(jpeg).image, label); };
    const auto name = fmt::format("jpeg {} to {}", label, kFamilies[i].name);
    report.add(name, bench::median_seconds(work) * 1e3, "ms");
    report.add(name + ", growth at most", growth(work), "MB");
  }
}

}  // namespace

int main(int argc, char** argv) {
  Processors all;
  for (const auto& family : kFamilies) {
    const Folder folder(family.config);
    all.push_back(processors::load_image_processor(open_checkpoint(folder.path())));
  }
  bench::Report report;
  std::vector<std::string> sizes(argv + 1, argv + argc);
  if (sizes.empty()) sizes = {"640x480", "1344x1344", "6000x4000"};
  for (const auto& size : sizes) {
    const size_t x = size.find('x');
    bench_size(report, {std::stoi(size.substr(0, x)), std::stoi(size.substr(x + 1))}, all);
  }
  return 0;
}

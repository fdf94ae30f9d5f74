#include "media/ffmpeg.h"

#include <dlfcn.h>

#include "base/error.h"

namespace fovea::media {
namespace {

// Never closed: what it has loaded may have threads and handlers of its own.
void* open_library(const std::string& name, int version, const std::string& suffix) {
  const std::string file = fmt::format("lib{}.so.{}{}", name, version, suffix);
  void* library = ::dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (!library) {
    fail(ErrorKind::kUnsupported,
         "[media] expected FFmpeg's library {} on this machine but it cannot be loaded", file);
  }
  return library;
}

template <class Function>
void find(void* library, const char* name, Function& function) {
  function = reinterpret_cast<Function>(::dlsym(library, name));
  if (!function) {
    fail(ErrorKind::kUnsupported, "[media] expected FFmpeg with '{}' but it has no such function",
         name);
  }
}

}  // namespace

Ffmpeg load_ffmpeg(const std::string& suffix) {
  void* const format = open_library("avformat", LIBAVFORMAT_VERSION_MAJOR, suffix);
  void* const codec = open_library("avcodec", LIBAVCODEC_VERSION_MAJOR, suffix);
  void* const util = open_library("avutil", LIBAVUTIL_VERSION_MAJOR, suffix);
  void* const resample = open_library("swresample", LIBSWRESAMPLE_VERSION_MAJOR, suffix);
  void* const scale = open_library("swscale", LIBSWSCALE_VERSION_MAJOR, suffix);
  Ffmpeg ffmpeg;
#define FOVEA_FIND_FORMAT(name) find(format, #name, ffmpeg.name);
#define FOVEA_FIND_CODEC(name) find(codec, #name, ffmpeg.name);
#define FOVEA_FIND_UTIL(name) find(util, #name, ffmpeg.name);
#define FOVEA_FIND_RESAMPLE(name) find(resample, #name, ffmpeg.name);
#define FOVEA_FIND_SCALE(name) find(scale, #name, ffmpeg.name);
  FOVEA_AVFORMAT(FOVEA_FIND_FORMAT)
  FOVEA_AVCODEC(FOVEA_FIND_CODEC)
  FOVEA_AVUTIL(FOVEA_FIND_UTIL)
  FOVEA_SWRESAMPLE(FOVEA_FIND_RESAMPLE)
  FOVEA_SWSCALE(FOVEA_FIND_SCALE)
  return ffmpeg;
}

const Ffmpeg& ffmpeg() {
  static const Ffmpeg loaded = [] {
    Ffmpeg functions = load_ffmpeg();
    functions.av_log_set_level(AV_LOG_QUIET);
    return functions;
  }();
  return loaded;
}

}  // namespace fovea::media

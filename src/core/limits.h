// Every limit on what Fovea takes, in one table: its name, its flag, its range, and what holds when
// nobody says. Whoever checks one takes the numbers from here, so that sentences and help agree.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <string_view>

#include "base/error.h"
#include "base/thread_pool.h"

namespace fovea {

template <class T>
struct Limit {
  std::string_view name;  // as requests and generation_config.json spell it
  std::string_view flag;
  T low;
  T high;
  T standard;                      // when nobody says
  std::string_view variable = "";  // of the environment, which holds where the flag says nothing
};

// Sampling. `standard` comes after the request and the checkpoint's generation_config.json.
inline constexpr Limit<int> kMaxTokens = {"max_tokens", "--max-tokens", 1, 1 << 30, 2048};
inline constexpr Limit<double> kTemperature = {"temperature", "--temperature", 0, 100, 0};
inline constexpr Limit<double> kTopP = {"top_p", "--top-p", 0, 1, 1};
inline constexpr Limit<int> kTopK = {"top_k", "--top-k", 0, 1 << 30, 0};
inline constexpr Limit<double> kMinP = {"min_p", "--min-p", 0, 1, 0};
inline constexpr Limit<double> kRepetitionPenalty = {"repetition_penalty", "--repetition-penalty",
                                                     1e-3, 1e3, 1};
inline constexpr Limit<double> kPresencePenalty = {"presence_penalty", "--presence-penalty", -2, 2,
                                                   0};
inline constexpr Limit<double> kFrequencyPenalty = {"frequency_penalty", "--frequency-penalty", -2,
                                                    2, 0};
// Without one, the seed is random.
inline constexpr Limit<uint64_t> kSeed = {"seed", "--seed", 0, std::numeric_limits<uint64_t>::max(),
                                          0};

// What `fovea synth` leaves of a decoder; without one, all layers of the shape.
inline constexpr Limit<int> kSynthLayers = {"layers", "--layers", 1, 1024, 0};

// The engine.
inline constexpr Limit<int> kMaxKvSize = {"max_kv_size", "--max-kv-size", 0, 1 << 30, 0};
inline constexpr Limit<int> kQuantizedKvStart = {"quantized_kv_start", "--quantized-kv-start", 0,
                                                 1 << 30, 5000};
inline constexpr Limit<int> kPrefillStepSize = {"prefill_step_size", "--prefill-step-size", 1,
                                                1 << 20, 2048};
inline constexpr Limit<int> kSequencesMax = {"sequences_max", "--sequences-max", 1, 1024, 32};
// Without one, half of the memory that is free.
inline constexpr Limit<int64_t> kKvCacheBytes = {"kv_cache_bytes", "--kv-cache-bytes", 0,
                                                 int64_t{1} << 44, 0};
inline constexpr Limit<int64_t> kVisionCacheBytes = {"vision_cache_bytes", "--vision-cache-bytes",
                                                     0, int64_t{1} << 44, int64_t{256} << 20};
// Without one, the usable cores; FOVEA_THREADS too.
inline constexpr Limit<int> kThreads = {"threads", "--threads", 1, kThreadsMax, 0};
inline constexpr int kRequestsMax = 256;  // waiting and running

// Transfers of one file at once.
inline constexpr Limit<int> kConnections = {"connections", "--connections", 1, 32, 4};

// What a hub may list of one model. Sizes of all files together fit 64 bits.
inline constexpr int kHubPagesMax = 1000;
inline constexpr size_t kHubFilesMax = 100'000;
inline constexpr size_t kHubPathBytesMax = 4096;
inline constexpr int64_t kHubFileBytesMax = int64_t{1} << 40;

// Media from the web.
inline constexpr Limit<double> kFetchSeconds = {
    "fetch_seconds", "--fetch-seconds", 0.01, 86400, 60, "FOVEA_FETCH_SECONDS"};
inline constexpr Limit<int> kFetchMegabytes = {
    "fetch_megabytes", "--fetch-megabytes", 1, 1024, 256, "FOVEA_FETCH_MEGABYTES"};
inline constexpr int kFetchRedirectsMax = 3;
inline constexpr size_t kMediaNameBytesMax = 200;  // of a source, where an error repeats it

// Pictures, checked before their pixels are decoded.
inline constexpr Limit<int> kResizeSide = {"resize_shape", "--resize-shape", 1, 16384, 0};
inline constexpr size_t kPictureBytesMax = size_t{64} << 20;  // encoded
inline constexpr int64_t kPicturePixelsMax = int64_t{64} << 20;
inline constexpr int kPictureSideMax = 65535;
inline constexpr int kPictureAspectMax = 200;  // longer side to shorter, where a family asks
inline constexpr int kJpegScansMax = 100;      // tiny scans over a large picture cost seconds each
// Of all scans together.
inline constexpr int64_t kJpegScanPixelsMax = 20 * kPicturePixelsMax;
// Of an ancillary chunk, and of all together.
inline constexpr size_t kPngChunkBytesMax = size_t{16} << 20;
inline constexpr size_t kColourProfileBytesMax = size_t{8} << 20;
// Before it is decoded.
inline constexpr size_t kDataUriBytesMax = 2 * kPictureBytesMax;

// Documents as pictures.
inline constexpr Limit<int> kPdfDpi = {"dpi", "--dpi", 18, 1200, 150};
inline constexpr int kPdfPagesMax = 32;       // in one document
inline constexpr double kPdfSecondsMax = 30;  // for one page

// Videos: which frames are taken. Without one, the checkpoint's, else the family's.
inline constexpr Limit<double> kVideoFps = {"fps", "--fps", 0.001, 1000, 2};
inline constexpr Limit<int> kVideoFrames = {"frames", "--frames", 1, 2048, 0};
inline constexpr Limit<int> kVideoMinFrames = {"min_frames", "--min-frames", 1, 2048, 4};
inline constexpr Limit<int> kVideoMaxFrames = {"max_frames", "--max-frames", 1, 2048, 768};
inline constexpr Limit<int> kVideoMinPixels = {"min_pixels", "--min-pixels", 1, 64 << 20, 0};
inline constexpr Limit<int> kVideoMaxPixels = {"max_pixels", "--max-pixels", 1, 64 << 20, 0};
inline constexpr Limit<double> kVideoStart = {"start", "--start", 0, 86400, 0};
inline constexpr Limit<double> kVideoEnd = {"end", "--end", 0, 86400, 0};
// Of the file itself; a frame is held to the limits of a picture.
inline constexpr size_t kVideoBytesMax = size_t{1} << 30;  // in memory; an open file has no limit
inline constexpr int kVideoFramesMax = 1 << 21;            // in the file
inline constexpr double kVideoSecondsMax = 86400;          // that it lasts
inline constexpr double kVideoDecodeSecondsMax = 3600;     // that reading it may take
inline constexpr int64_t kVideoPixelsMax = int64_t{128} << 20;  // of all frames after resizing
inline constexpr int kVideoPicturesStandard = 16;               // for a family that takes no videos

// Sound: which part is taken, and of what file. --start and --end are those of videos.
inline constexpr size_t kAudioBytesMax = size_t{1} << 30;  // in memory; an open file has no limit
inline constexpr double kAudioSecondsMax = 14400;          // that are taken of it
inline constexpr double kAudioDecodeSecondsMax = 3600;     // that reading it may take
inline constexpr int kAudioRateMin = 1000;                 // samples a second, of a file
inline constexpr int kAudioRateMax = 768'000;
inline constexpr int kAudioChannelsMax = 64;
inline constexpr Limit<int> kSpeechRate = {"rate", "--rate", 80, 450, 175};  // words a minute

// What a checkpoint may ask of its picture processor.
inline constexpr int kProcessorSideMax = 4096;  // of a fixed size; also extra tokens a picture
inline constexpr int kProcessorPatchMax = 256;
inline constexpr int kProcessorTemporalPatchMax = 16;
inline constexpr int kProcessorMergeMax = 16;

inline constexpr int64_t kPictureTokensMax = 1 << 20;  // of one picture

// One rendering of a chat template.
inline constexpr uint64_t kTemplateFuel = 5'000'000;         // instructions
inline constexpr size_t kPromptBytesMax = size_t{16} << 20;  // the text that comes out
inline constexpr int kTemplateIndentMax = 100;               // spaces a level
inline constexpr int kTemplateWidthMax = 10'000;             // characters of a padded field

// Throws Error(kind) "[where] expected NAME from LOW to HIGH but got VALUE" unless it is within.
template <class T>
void require_within(const Limit<T>& limit, T value, std::string_view where, ErrorKind kind) {
  if (value >= limit.low && value <= limit.high) return;
  fail(kind, "[{}] expected {} from {} to {} but got {}", where, limit.name, limit.low, limit.high,
       value);
}

}  // namespace fovea

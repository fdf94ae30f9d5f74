// What a model is given: token ids with media spans. Made by processors, read by generate and
// models. Immutable once made; host memory only.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "core/host_tensor.h"
#include "core/image.h"

namespace fovea {

enum class MediaKind { kImage, kVideo };

// Tokens [begin, begin + count) of a prompt.
struct TokenRun {
  int begin = 0;
  int count = 0;
  bool operator==(const TokenRun&) const = default;
};

// One medium of the prompt. Its features replace the embeddings of its tokens.
struct MediaSpan {
  MediaKind kind = MediaKind::kImage;
  int begin = 0;                            // of its tokens the first,
  int count = 0;                            // and how many there are
  std::vector<TokenRun> runs;               // where they do not all stand together, in order
  HostTensor pixels;                        // as the family's image processor gives it
  std::array<int, 3> grid_thw = {0, 0, 0};  // patches in time, height, width; zeros where unused
  std::array<int, 2> tiles = {0, 0};        // rows and columns it is cut into; zeros where unused
  Size original;                            // of the file, upright
  Size used;                                // after resizing
  PictureFacts facts;                       // of a picture that was decoded
  // Of a video, and of a picture that is a video's frame: which frames were taken of how many, and
  // when they are shown, in seconds from the first.
  std::vector<int> frames;
  std::vector<double> times;
  int frames_total = 0;
  double seconds_per_grid = 0;  // of time for each of grid_thw's first axis
  int video = -1;               // a picture that stands for a frame of this video
};

// The tokens of a medium, in order.
inline std::vector<TokenRun> token_runs(const MediaSpan& span) {
  return span.runs.empty() ? std::vector<TokenRun>{{span.begin, span.count}} : span.runs;
}

struct Prompt {
  std::string text;              // rendered template, before placeholders are expanded
  std::vector<int32_t> tokens;   // placeholders expanded
  std::vector<MediaSpan> media;  // in order of `begin`, not overlapping
};

}  // namespace fovea

// What a request cost.
#pragma once

#include <vector>

#include "core/image.h"

namespace fovea {

struct Usage {
  int prompt_tokens = 0;
  int completion_tokens = 0;  // the stop token counts, as in the reference
  int cached_tokens = 0;
};

// What became of one picture of the prompt.
struct PictureUsage {
  Size original;  // of the file, upright
  Size used;      // after resizing
  int tokens = 0;
  std::vector<int> shape;  // of what the tower was given
  PictureFacts facts;
};

// What became of one video of the prompt.
struct VideoUsage {
  Size original;
  Size used;                  // of a frame
  std::vector<int> frames;    // their numbers in the file,
  std::vector<double> times;  // and seconds from its first
  int frames_total = 0;       // in the file
  int tokens = 0;
  bool as_pictures = false;  // for a family that takes no videos
};

struct Timings {
  int prompt_n = 0;       // prompt tokens processed; fewer than the prompt's when it was cancelled
  double prompt_ms = 0;   // from the decoded request to the first token, pictures included
  double process_ms = 0;  // of it: decoding and resizing pictures, rendering, tokenising
  double vision_ms = 0;   // of it: pictures through the tower
  int predicted_n = 0;
  double predicted_ms = 0;  // from the first token to the last
  double predicted_per_second = 0;
};

}  // namespace fovea

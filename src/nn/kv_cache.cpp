#include "nn/kv_cache.h"

#include <algorithm>

namespace fovea::nn {

void add_looking_rows(std::span<const MediaView> views, const Segment& segment, int rows,
                      std::vector<LookingRows>& looking) {
  const int end = rows + segment.count;
  for (size_t i = 0; i < views.size(); ++i) {
    const int from = std::max(views[i].begin, rows);
    const int to = i + 1 < views.size() ? std::min(views[i + 1].begin, end) : end;
    if (from >= to) continue;
    looking.push_back({segment.sequence, segment.begin + from - rows, to - from, segment.decode,
                       views[i].states, views[i].blind});
  }
}

}  // namespace fovea::nn

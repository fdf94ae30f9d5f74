#include "generate/scheduler.h"

#include <algorithm>
#include <cassert>

namespace fovea::generate {

void Scheduler::remove(const Request& request) {
  std::erase_if(requests_, [&](const auto& other) { return other->id == request.id; });
}

std::vector<StepRow> Scheduler::next_step() const {
  assert(!requests_.empty());
  const auto& request = requests_.front();
  const int rest = request->prompt_length() - request->prefilled;
  if (rest == 0) return {{request, 0, 1, false, true}};
  int count = std::min(rest, prefill_step_size_);
  for (const auto& span : request->spans) {
    const int end = request->prefilled + count;
    if (span.begin < end && end < span.begin + span.count) {
      count = span.begin + span.count - request->prefilled;
    }
  }
  return {{request, request->prefilled, count, true, count == rest}};
}

}  // namespace fovea::generate

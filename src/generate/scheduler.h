// Decides what the engine's next step holds. One request at a time for now, first come first
// served; a step is a chunk of its prompt or its newest token. Engine thread only.
#pragma once

#include <deque>
#include <memory>
#include <vector>

#include "generate/request.h"

namespace fovea::generate {

// Rows of one request in a step.
struct StepRow {
  std::shared_ptr<Request> request;
  int begin = 0;  // of the prompt when prefilling
  int count = 0;
  bool prefill = false;
  bool wants_logits = false;
};

class Scheduler {
 public:
  explicit Scheduler(int prefill_step_size) : prefill_step_size_(prefill_step_size) {}

  void add(std::shared_ptr<Request> request) { requests_.push_back(std::move(request)); }
  void remove(const Request& request);
  bool empty() const { return requests_.empty(); }
  const std::deque<std::shared_ptr<Request>>& requests() const { return requests_; }

  // REQUIRES: not empty. A chunk grows where it would end within a span.
  std::vector<StepRow> next_step() const;

 private:
  int prefill_step_size_;
  std::deque<std::shared_ptr<Request>> requests_;  // in the order of arrival
};

}  // namespace fovea::generate

// Decides what the engine's next step holds: the newest tokens of all answers, and beside them as
// many rows of prompts as leave the answers flowing. Prompts share those rows evenly, so that a
// short one does not wait for a long one and none waits for ever. Engine thread only.
#pragma once

#include <deque>
#include <memory>
#include <vector>

#include "generate/request.h"

namespace fovea::generate {

// Rows of one request in a step.
struct StepRow {
  std::shared_ptr<Request> request;
  int begin = 0;  // of the prompt, or of what was generated
  int count = 0;
  bool prefill = false;
  bool wants_logits = false;
};

class Scheduler {
 public:
  struct Options {
    int prefill_step_size = 0;  // rows of prompts in a step
    int sequences_max = 0;      // that run at once; the others wait
    // Whether a step's size may change what its rows see: then prompts are always cut alike.
    bool fixed_steps = false;
  };
  explicit Scheduler(const Options& options);

  void add(std::shared_ptr<Request> request) { requests_.push_back(std::move(request)); }
  void remove(const Request& request);
  bool empty() const { return requests_.empty(); }
  const std::deque<std::shared_ptr<Request>>& requests() const { return requests_; }

  // The first of those that run now and have not started; null when there is none.
  std::shared_ptr<Request> next_to_start() const;

  // Those of the requests that have started: prompts first, in order, then answers. A chunk grows
  // where it would end within a span. May be empty.
  std::vector<StepRow> next_step() const;

  // How long a step took, for the size of the next ones.
  void took(const std::vector<StepRow>& rows, double seconds);

  // There was no room for `request` beside those that run: one fewer runs until a request has
  // ended. Returns the one that waits, which begins anew when it is its turn: the youngest, or the
  // request itself where it has not started. Null when it has all the room there is.
  std::shared_ptr<Request> make_one_wait(const Request& request);

 private:
  int rows_of_prompts(bool beside_answers) const;

  Options options_;
  std::deque<std::shared_ptr<Request>> requests_;  // in the order of arrival: the first ones run
  size_t running_max_;
  double prompt_row_seconds_ = 0;  // measured; 0 is not known yet
};

}  // namespace fovea::generate

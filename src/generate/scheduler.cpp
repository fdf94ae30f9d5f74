#include "generate/scheduler.h"

#include <algorithm>
#include <cassert>

namespace fovea::generate {
namespace {

// What answers wait for rows of prompts in a step, about; a sixth of a second is still read as
// flowing.
constexpr double kPromptSecondsBeside = 0.15;
constexpr int kRowsBesideMin = 16;    // fewer would cost nearly as much
constexpr int kRowsBesideFirst = 64;  // before anything was measured
constexpr int kRowsOfOneMin = 8;      // of a prompt among many
constexpr double kNewestShare = 0.3;  // of a measurement in what is known

// The chunk with the rest of a span that it would end within.
int grown_to_spans(const Request& request, int count) {
  for (const auto& span : request.spans) {
    const int end = request.rows_kept + count;
    if (span.begin < end && end < span.begin + span.count) {
      count = span.begin + span.count - request.rows_kept;
    }
  }
  return count;
}

}  // namespace

Scheduler::Scheduler(const Options& options)
    : options_(options), running_max_(static_cast<size_t>(options.sequences_max)) {}

void Scheduler::remove(const Request& request) {
  const auto erased =
      std::erase_if(requests_, [&](const auto& other) { return other->id == request.id; });
  if (erased == 0) return;
  running_max_ = std::min(running_max_ + 1, static_cast<size_t>(options_.sequences_max));
}

std::shared_ptr<Request> Scheduler::next_to_start() const {
  const size_t running = std::min(requests_.size(), running_max_);
  for (size_t i = 0; i < running; ++i) {
    if (!requests_[i]->started()) return requests_[i];
  }
  return nullptr;
}

int Scheduler::rows_of_prompts(bool beside_answers) const {
  if (!beside_answers || options_.fixed_steps) return options_.prefill_step_size;
  const int rows = prompt_row_seconds_ > 0
                       ? static_cast<int>(std::min(1e6, kPromptSecondsBeside / prompt_row_seconds_))
                       : kRowsBesideFirst;
  return std::clamp(rows, std::min(kRowsBesideMin, options_.prefill_step_size),
                    options_.prefill_step_size);
}

std::vector<StepRow> Scheduler::next_step() const {
  std::vector<StepRow> prompts;
  std::vector<StepRow> answers;
  for (const auto& request : requests_) {
    if (!request->started()) continue;
    const int length = request->prompt_length();
    const int rest = length - request->rows_kept;
    if (rest > 0) {
      prompts.push_back({request, request->rows_kept, rest, true, false});
    } else {
      // One, but for a request that began anew.
      const int left = static_cast<int>(request->generated.size()) + rest;
      const int count = std::min(left, options_.fixed_steps ? 1 : options_.prefill_step_size);
      answers.push_back({request, -rest, count, false, count == left});
    }
  }
  int left = rows_of_prompts(!answers.empty());
  std::vector<StepRow> rows;
  for (size_t i = 0; i < prompts.size() && left > 0; ++i) {
    auto& row = prompts[i];
    const int share = left / static_cast<int>(prompts.size() - i);
    const int rest = row.count;
    const int most = options_.fixed_steps ? options_.prefill_step_size
                                          : std::max(share, std::min(kRowsOfOneMin, left));
    row.count = grown_to_spans(*row.request, std::min(rest, most));
    // What is sampled from comes with the prompt's last row, unless it was sampled before.
    row.wants_logits = row.count == rest && row.request->generated.empty();
    left -= row.count;
    rows.push_back(std::move(row));
  }
  rows.insert(rows.end(), std::make_move_iterator(answers.begin()),
              std::make_move_iterator(answers.end()));
  return rows;
}

void Scheduler::took(const std::vector<StepRow>& rows, double seconds) {
  int count = 0;
  for (const auto& row : rows) count += row.prefill ? row.count : 0;
  if (count < kRowsBesideMin) return;
  const double one = seconds / count;
  prompt_row_seconds_ = prompt_row_seconds_ == 0
                            ? one
                            : prompt_row_seconds_ + kNewestShare * (one - prompt_row_seconds_);
}

std::shared_ptr<Request> Scheduler::make_one_wait(const Request& request) {
  size_t running = 0;
  std::shared_ptr<Request> waiting;
  for (const auto& other : requests_) {
    if (other->started()) {
      ++running;
      waiting = other;
    } else if (other->id == request.id) {
      waiting = other;
      break;
    }
  }
  if (running == 0 || (running == 1 && request.started())) return nullptr;
  running_max_ = request.started() ? running - 1 : running;
  return waiting;
}

}  // namespace fovea::generate

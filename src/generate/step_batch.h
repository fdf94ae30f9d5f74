// A step's rows as a model takes them: packed one behind another, each a segment of its sequence.
// Engine thread only.
#pragma once

#include <span>
#include <vector>

#include "generate/scheduler.h"
#include "models/model.h"

namespace fovea::generate {

class StepBatch {
 public:
  // `rows` have started; prompts come before answers.
  StepBatch(const models::Model& model, std::span<const StepRow> rows);
  // The batch's spans lie in this.
  StepBatch(const StepBatch&) = delete;
  StepBatch& operator=(const StepBatch&) = delete;

  const models::Batch& batch() const { return batch_; }
  bool has_prompts() const { return has_prompts_; }

 private:
  std::vector<std::vector<TokenRun>> spans_;  // of each row, counted from its first token
  std::vector<nn::Segment> segments_;
  std::vector<int> wanted_;
  bool has_prompts_;
  models::Batch batch_;
};

}  // namespace fovea::generate

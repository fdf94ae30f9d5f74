#include "generate/scheduler.h"

#include <gtest/gtest.h>

namespace fovea::generate {
namespace {

class SchedulerTest : public ::testing::Test {
 protected:
  // Starts at once, unless it has to wait.
  std::shared_ptr<Request> add(Scheduler& scheduler, int length) {
    Prompt prompt;
    prompt.tokens.assign(static_cast<size_t>(length), 1);
    auto request =
        std::make_shared<Request>(++last_id_, std::move(prompt), 100, Sampler(Sampling{}, {}),
                                  TextStream(nullptr, {}), [](const Event&) {});
    scheduler.add(request);
    start(scheduler);
    return request;
  }
  static void start(Scheduler& scheduler) {
    while (const auto next = scheduler.next_to_start()) next->sequence = static_cast<int>(next->id);
  }
  // Does what the engine does with a step.
  static void take(const std::vector<StepRow>& rows) {
    for (const auto& row : rows) {
      row.request->rows_kept += row.count;
      if (row.wants_logits) row.request->generated.push_back(1);
    }
  }
  static std::vector<int> counts(const std::vector<StepRow>& rows) {
    std::vector<int> all;
    for (const auto& row : rows) all.push_back(row.prefill ? row.count : -row.count);
    return all;
  }
  RequestId last_id_ = 0;
};

using Counts = std::vector<int>;

TEST_F(SchedulerTest, PromptsShareAStepEvenly) {
  Scheduler scheduler({100, 8});
  add(scheduler, 1000);
  add(scheduler, 10);
  add(scheduler, 200);
  auto rows = scheduler.next_step();
  EXPECT_EQ(counts(rows), Counts({33, 10, 57}));
  EXPECT_FALSE(rows[0].wants_logits);
  EXPECT_TRUE(rows[1].wants_logits);
}

TEST_F(SchedulerTest, AnswersAreInEveryStepAndPromptsTakeWhatTimeTheyLeave) {
  Scheduler scheduler({512, 8});
  const auto first = add(scheduler, 10);
  take(scheduler.next_step());
  add(scheduler, 2000);
  auto rows = scheduler.next_step();
  EXPECT_EQ(counts(rows), Counts({64, -1}));  // nothing was measured yet
  EXPECT_TRUE(rows[1].wants_logits);
  scheduler.took(rows, 64 * 0.001);
  EXPECT_EQ(counts(scheduler.next_step()), Counts({150, -1}));
  for (int i = 0; i < 40; ++i) scheduler.took(rows, 64 * 0.1);
  EXPECT_EQ(counts(scheduler.next_step()), Counts({16, -1}));
  for (int i = 0; i < 80; ++i) scheduler.took(rows, 64 * 1e-6);
  EXPECT_EQ(counts(scheduler.next_step()), Counts({512, -1}));
  scheduler.remove(*first);
  EXPECT_EQ(counts(scheduler.next_step()), Counts({512}));
}

// Where a step's size shows in the bits, prompts are cut alike whatever else runs.
TEST_F(SchedulerTest, FixedStepsDoNotDependOnCompany) {
  Scheduler scheduler({100, 8, true});
  add(scheduler, 150);
  add(scheduler, 150);
  EXPECT_EQ(counts(scheduler.next_step()), Counts({100}));
  take(scheduler.next_step());
  EXPECT_EQ(counts(scheduler.next_step()), Counts({50, 100}));
  take(scheduler.next_step());
  EXPECT_EQ(counts(scheduler.next_step()), Counts({50, -1}));
}

TEST_F(SchedulerTest, AChunkGrowsToTheEndOfASpan) {
  Scheduler scheduler({10, 8});
  const auto request = add(scheduler, 40);
  request->spans = {{8, 20}};
  EXPECT_EQ(counts(scheduler.next_step()), Counts({28}));
}

TEST_F(SchedulerTest, OnlySoManyRunAndNobodyWaitsForEver) {
  Scheduler scheduler({100, 2});
  const auto a = add(scheduler, 10);
  const auto b = add(scheduler, 10);
  const auto c = add(scheduler, 10);
  EXPECT_FALSE(c->started());
  EXPECT_EQ(scheduler.next_step().size(), 2u);
  scheduler.remove(*b);
  start(scheduler);
  EXPECT_TRUE(c->started());
}

TEST_F(SchedulerTest, TheYoungestGivesWayUntilAnotherHasEnded) {
  Scheduler scheduler({100, 3});
  const auto a = add(scheduler, 10);
  const auto b = add(scheduler, 10);
  const auto c = add(scheduler, 10);
  take(scheduler.next_step());
  take(scheduler.next_step());
  EXPECT_EQ(scheduler.make_one_wait(*a), c);
  c->sequence = -1;
  c->rows_kept = 0;
  EXPECT_EQ(scheduler.next_to_start(), nullptr);
  EXPECT_EQ(scheduler.make_one_wait(*b), b);
  b->sequence = -1;
  b->rows_kept = 0;
  EXPECT_EQ(scheduler.make_one_wait(*a), nullptr);  // it is alone
  EXPECT_EQ(scheduler.next_to_start(), nullptr);
  scheduler.remove(*a);
  start(scheduler);
  EXPECT_TRUE(b->started());
  // It reads its prompt again, without sampling from it, then what it had said.
  auto rows = scheduler.next_step();
  EXPECT_EQ(counts(rows), Counts({10, 10}));
  EXPECT_FALSE(rows[0].wants_logits);
  take(rows);
  rows = scheduler.next_step();
  EXPECT_EQ(counts(rows), Counts({-2, -2}));
  EXPECT_TRUE(rows[0].wants_logits);
  EXPECT_EQ(rows[0].begin, 0);
}

// What was said before is computed as it was: in steps that are no larger, or one by one.
TEST_F(SchedulerTest, AnAnswerThatBeganAnewIsReadInSteps) {
  for (const bool fixed : {false, true}) {
    Scheduler scheduler({4, 3, fixed});
    const auto request = add(scheduler, 4);
    request->generated.assign(6, 1);
    take(scheduler.next_step());
    EXPECT_EQ(request->rows_kept, 4);
    const auto rows = scheduler.next_step();
    EXPECT_EQ(counts(rows), fixed ? Counts({-1}) : Counts({-4}));
    EXPECT_FALSE(rows[0].wants_logits);
    request->rows_kept = 9;
    EXPECT_TRUE(scheduler.next_step()[0].wants_logits);
  }
}

TEST_F(SchedulerTest, WhatHasNotStartedWaitsItself) {
  Scheduler scheduler({100, 3});
  const auto a = add(scheduler, 10);
  Prompt prompt;
  prompt.tokens = {1};
  const auto b = std::make_shared<Request>(99, std::move(prompt), 1, Sampler(Sampling{}, {}),
                                           TextStream(nullptr, {}), [](const Event&) {});
  scheduler.add(b);
  EXPECT_EQ(scheduler.next_to_start(), b);
  EXPECT_EQ(scheduler.make_one_wait(*b), b);
  EXPECT_EQ(scheduler.next_to_start(), nullptr);
  scheduler.remove(*a);
  EXPECT_EQ(scheduler.next_to_start(), b);
  EXPECT_EQ(scheduler.make_one_wait(*b), nullptr);
}

}  // namespace
}  // namespace fovea::generate

// The engine with a model whose next token is the last one plus one.
#include "generate/engine.h"

#include <gtest/gtest.h>

#include <atomic>
#include <condition_variable>
#include <functional>
#include <future>
#include <mutex>
#include <stdexcept>
#include <thread>
#include <utility>

#include "kernels/block_attention.h"
#include "mlx/ops.h"
#include "support/expect_error.h"

namespace fovea::generate {
namespace {

namespace mx = mlx::core;

constexpr int kVocab = 64;
constexpr int32_t kEos = 63;

// Row i of the logits has its peak at the row's token + 1.
class CountingModel : public models::Model {
 public:
  CountingModel() {
    info_.vocab_size = kVocab;
    info_.context_length = 100;
    info_.num_layers = 1;
    info_.eos_token_ids = {kEos};
  }
  const models::ModelInfo& info() const override { return info_; }
  std::vector<nn::KvLayer> kv_layers() const override { return {{1, 1, mx::float32}}; }
  mx::array encode_media(const MediaSpan&) const override { return mx::zeros({1, 1}); }
  mx::array embed_tokens(std::span<const int32_t> tokens) const override {
    for (const int32_t token : tokens) {
      if (token == poison) fail(ErrorKind::kInvalidData, "[model] poisoned");
    }
    std::vector<float> rows(tokens.begin(), tokens.end());
    return mx::array(rows.data(), {static_cast<int>(rows.size()), 1}, mx::float32);
  }
  models::Positions position_ids(const Prompt& prompt) const override {
    return models::consecutive_positions(static_cast<int>(prompt.tokens.size()), 1);
  }
  mx::array forward(const models::Batch& batch, nn::KvCache& cache,
                    const models::StageSink&) const override {
    if (on_forward) on_forward();
    for (const auto& segment : batch.segments) {
      steps.push_back({segment.count, {segment.spans.begin(), segment.spans.end()}});
    }
    const auto rows = mx::reshape(batch.inputs_embeds_TD, {-1, 1, 1});
    cache.attend(0, rows, rows, rows, batch.segments, {});
    if (batch.logits_rows.empty()) return mx::zeros({0, kVocab});
    const auto count = static_cast<int>(batch.logits_rows.size());
    const auto wanted = mx::array(batch.logits_rows.data(), {count}, mx::int32);
    const auto tokens = mx::take(batch.inputs_embeds_TD, wanted, 0);
    const auto next = mx::remainder(mx::add(tokens, mx::array(1.0f)), mx::array(wrap));
    return mx::astype(mx::equal(mx::arange(kVocab, mx::float32), next), mx::float32);
  }
  void visit(nn::Visitor&) override {}

  void set_context_length(int length) { info_.context_length = length; }

  std::vector<TokenRun> attention_spans(const Prompt&) const override { return spans; }

  struct Step {
    int rows;
    std::vector<TokenRun> spans;
    bool operator==(const Step&) const = default;
  };
  mutable std::vector<Step> steps;  // of the engine's thread
  std::vector<TokenRun> spans;
  int32_t poison = -1;
  float wrap = 1 << 20;  // tokens are counted modulo this
  std::function<void()> on_forward;

 private:
  models::ModelInfo info_;
};

// Token 5 is "f": letters a to z, then capitals.
class LetterTokenizer : public processors::Tokenizer {
 public:
  std::vector<int32_t> encode(std::string_view, bool) const override { return {}; }
  std::string decode(std::span<const int32_t> ids, bool) const override {
    std::string text;
    for (const int32_t id : ids) text += static_cast<char>(id < 26 ? 'a' + id : 'A' + id % 26);
    return text;
  }
  std::optional<int32_t> token_to_id(std::string_view) const override { return std::nullopt; }
  // Token 61, "J", is known to be a character at the end only.
  std::string id_to_token(int32_t id) const override { return id == 61 ? "<0x4A>" : ""; }
  bool is_special(int32_t) const override { return false; }
  int vocab_size() const override { return kVocab; }
  std::vector<int32_t> eos_token_ids() const override { return {}; }
};

// Collects one request's events and waits for its end.
class Listener {
 public:
  EventSink sink() {
    return [this](const Event& event) {
      const std::lock_guard lock(mutex_);
      if (const auto* delta = std::get_if<TextDelta>(&event)) text += delta->text;
      if (const auto* f = std::get_if<Finished>(&event)) finished = *f, ++ends_;
      if (const auto* f = std::get_if<Failed>(&event)) failed = *f, ++ends_;
      if (std::holds_alternative<PrefillProgress>(event)) ++prefills;
      changed_.notify_all();
    };
  }
  void wait() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return ends_ > 0; });
  }
  int ends() {
    const std::lock_guard lock(mutex_);
    return ends_;
  }

  std::string text;
  Finished finished;
  Failed failed;
  int prefills = 0;

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  int ends_ = 0;
};

Prompt prompt_of(std::vector<int32_t> tokens) {
  Prompt prompt;
  prompt.tokens = std::move(tokens);
  return prompt;
}

class EngineTest : public ::testing::Test {
 protected:
  Engine make(EngineOptions options = {}) {
    return Engine(model_, std::make_shared<LetterTokenizer>(), std::move(options));
  }
  std::shared_ptr<CountingModel> model_ = std::make_shared<CountingModel>();
};

SamplingParams at_most(int tokens) {
  SamplingParams params;
  params.max_tokens = tokens;
  return params;
}

TEST_F(EngineTest, EndsByLengthAndByEos) {
  Engine engine = make();
  Listener length;
  engine.submit(prompt_of({1, 2}), at_most(3), length.sink());
  length.wait();
  EXPECT_EQ(length.text, "def");
  EXPECT_EQ(length.finished.reason, FinishReason::kLength);
  EXPECT_EQ(length.finished.usage.prompt_tokens, 2);
  EXPECT_EQ(length.finished.usage.completion_tokens, 3);
  Listener stop;
  engine.submit(prompt_of({60}), at_most(30), stop.sink());
  stop.wait();
  EXPECT_EQ(stop.finished.reason, FinishReason::kStop);
  EXPECT_EQ(stop.finished.usage.completion_tokens, 3);
  EXPECT_EQ(stop.text, "JK");
}

TEST_F(EngineTest, EndsByTheFormatsToken) {
  EngineOptions options;
  options.turn_end_id = 5;
  Engine engine = make(options);
  Listener listener;
  engine.submit(prompt_of({1, 2}), at_most(9), listener.sink());
  listener.wait();
  EXPECT_EQ(listener.text, "de");
  EXPECT_EQ(listener.finished.reason, FinishReason::kStop);
}

TEST_F(EngineTest, StopStringsMaySpanTokens) {
  Engine engine = make();
  for (const auto& [stop, expected] : std::vector<std::pair<std::string, std::string>>{
           {"ef", "cd"}, {"c", ""}, {"xy", "cdefghij"}}) {
    Listener listener;
    auto params = at_most(8);
    params.stop = {stop, ""};
    engine.submit(prompt_of({1}), params, listener.sink());
    listener.wait();
    EXPECT_EQ(listener.text, expected);
  }
}

TEST_F(EngineTest, PrefillsInChunks) {
  EngineOptions options;
  options.prefill_step_size = 3;
  Engine engine = make(options);
  Listener listener;
  engine.submit(prompt_of({1, 2, 3, 4, 5, 6, 7}), at_most(2), listener.sink());
  listener.wait();
  EXPECT_EQ(listener.prefills, 4);  // the start, then three chunks
  EXPECT_EQ(listener.text, "ij");
}

// A chunk grows to the end of a span that it would cut, and tells where its spans are.
TEST_F(EngineTest, NoStepCutsASpan) {
  model_->spans = {{2, 4}, {7, 2}};
  EngineOptions options;
  options.prefill_step_size = 3;
  Listener listener;
  {
    Engine engine = make(options);
    engine.submit(prompt_of({0, 1, 2, 3, 4, 5, 6, 7, 8, 9}), at_most(2), listener.sink());
    listener.wait();
  }
  using Step = CountingModel::Step;
  EXPECT_EQ(model_->steps, std::vector<Step>({{6, {{2, 4}}}, {3, {{1, 2}}}, {1, {}}, {1, {}}}));
}

TEST_F(EngineTest, PenaltiesSeeEveryChunkOfThePrompt) {
  EngineOptions options;
  options.prefill_step_size = 2;
  Engine engine = make(options);
  Listener listener;
  auto params = at_most(1);
  params.presence_penalty = 2;
  engine.submit(prompt_of({8, 1, 2, 3, 7}), params, listener.sink());
  listener.wait();
  EXPECT_EQ(listener.text, "a");  // and not "i", token 8, which was there
}

TEST_F(EngineTest, AStopStringMayBeCompleteAtTheEndOnly) {
  Engine engine = make();
  Listener listener;
  auto params = at_most(1);
  params.stop = {"J"};
  engine.submit(prompt_of({60}), params, listener.sink());
  listener.wait();
  EXPECT_EQ(listener.text, "");
  EXPECT_EQ(listener.finished.reason, FinishReason::kStop);
}

TEST_F(EngineTest, ASinkThatThrowsFailsItsRequestAlone) {
  Engine engine = make();
  Listener good;
  std::atomic<int> failed{0};
  engine.submit(prompt_of({1}), at_most(5), [&](const Event& event) {
    if (std::holds_alternative<Failed>(event)) ++failed;
    throw std::runtime_error("sink");
  });
  engine.submit(prompt_of({1}), at_most(5), [&](const Event& event) {
    if (std::holds_alternative<Finished>(event)) throw std::runtime_error("sink");
  });
  engine.submit(prompt_of({1}), at_most(2), good.sink());
  good.wait();
  EXPECT_EQ(failed.load(), 1);
  EXPECT_EQ(good.text, "cd");
}

TEST_F(EngineTest, AFailureStaysWithItsRequest) {
  model_->poison = 9;
  Engine engine = make();
  Listener bad;
  Listener good;
  engine.submit(prompt_of({6}), at_most(20), bad.sink());
  engine.submit(prompt_of({20}), at_most(2), good.sink());
  bad.wait();
  good.wait();
  EXPECT_EQ(bad.failed.message, "[model] poisoned");
  EXPECT_EQ(bad.text, "hij");
  EXPECT_EQ(good.text, "vw");
  EXPECT_EQ(bad.ends(), 1);
  EXPECT_EQ(good.ends(), 1);
}

// Holds the engine inside the model's nth pass.
class Barrier {
 public:
  Barrier(CountingModel& model, int pass) {
    model.on_forward = [this, pass, passes = 0]() mutable {
      if (++passes != pass) return;
      reached_.set_value();
      open_.get_future().wait();
    };
  }
  void wait_until_reached() { reached_.get_future().wait(); }
  void open() { open_.set_value(); }

 private:
  std::promise<void> reached_;
  std::promise<void> open_;
};

TEST_F(EngineTest, CancelEndsWithinTheStepAndIgnoresStrangers) {
  Barrier third(*model_, 3);
  Engine engine = make();
  Listener listener;
  const auto id = engine.submit(prompt_of({0}), at_most(60), listener.sink());
  third.wait_until_reached();
  engine.cancel(id + 100);
  engine.cancel(id);
  third.open();
  listener.wait();
  EXPECT_EQ(listener.finished.reason, FinishReason::kCancelled);
  EXPECT_EQ(listener.finished.usage.completion_tokens, 2);
  EXPECT_EQ(listener.text, "bc");
  engine.cancel(id);
  EXPECT_EQ(listener.ends(), 1);
}

TEST_F(EngineTest, CancelInThePromptSamplesNothingAndCountsWhatWasRead) {
  for (const auto& [pass, read] : {std::pair(2, 6), std::pair(3, 7)}) {
    Barrier barrier(*model_, pass);
    EngineOptions options;
    options.prefill_step_size = 3;
    Engine engine = make(options);
    Listener listener;
    const auto id = engine.submit(prompt_of({1, 2, 3, 4, 5, 6, 7}), at_most(9), listener.sink());
    barrier.wait_until_reached();
    engine.cancel(id);
    barrier.open();
    listener.wait();
    EXPECT_EQ(listener.finished.reason, FinishReason::kCancelled);
    EXPECT_EQ(listener.finished.usage.completion_tokens, 0);
    EXPECT_EQ(listener.finished.timings.prompt_n, read);
    EXPECT_EQ(listener.text, "");
  }
}

TEST_F(EngineTest, RefusesWhatCannotRun) {
  EngineOptions options;
  options.requests_max = 0;
  Engine busy = make(options);
  Listener listener;
  EXPECT_ERROR(busy.submit(prompt_of({1}), at_most(1), listener.sink()), ErrorKind::kBusy,
               "requests at once");
  Engine engine = make();
  EXPECT_ERROR(engine.submit(prompt_of({}), at_most(1), listener.sink()),
               ErrorKind::kInvalidArgument, "expected tokens");
  EXPECT_ERROR(engine.submit(prompt_of(std::vector<int32_t>(100, 1)), at_most(1), listener.sink()),
               ErrorKind::kTooLarge, "fewer than 100 tokens but got 100");
  EXPECT_ERROR(engine.submit(prompt_of({1}), at_most(0), listener.sink()),
               ErrorKind::kInvalidArgument, "max_tokens");
  for (const int32_t id : {-1, kVocab}) {
    auto biased = at_most(1);
    biased.logit_bias = {{id, 1.0f}};
    EXPECT_ERROR(engine.submit(prompt_of({1}), biased, listener.sink()),
                 ErrorKind::kInvalidArgument, "biases of tokens below 64");
  }
  EXPECT_EQ(listener.ends(), 0);
}

TEST_F(EngineTest, MaxTokensIsCutToTheContext) {
  model_->poison = -1;
  Engine engine = make();
  Listener listener;
  engine.submit(prompt_of(std::vector<int32_t>(98, 5)), at_most(50), listener.sink());
  listener.wait();
  EXPECT_EQ(listener.finished.reason, FinishReason::kLength);
  EXPECT_EQ(listener.finished.usage.completion_tokens, 2);
}

// A long prompt does not hold up an answer, nor a short prompt behind it.
TEST_F(EngineTest, AnswersFlowBesideALongPrompt) {
  model_->set_context_length(100'000);
  model_->wrap = 50;
  Listener answer;
  Listener long_prompt;
  Listener short_prompt;
  {
    Barrier second(*model_, 2);
    Engine engine = make();
    engine.submit(prompt_of({0}), at_most(40), answer.sink());
    second.wait_until_reached();
    engine.submit(prompt_of(std::vector<int32_t>(5000, 3)), at_most(1), long_prompt.sink());
    engine.submit(prompt_of({7, 8}), at_most(1), short_prompt.sink());
    second.open();
    long_prompt.wait();
    answer.wait();
  }
  EXPECT_EQ(short_prompt.text, "j");
  EXPECT_EQ(long_prompt.text, "e");
  EXPECT_EQ(answer.finished.usage.completion_tokens, 40);
  // Steps that read the long prompt beside a token of the answer: segments come prompts first.
  int beside = 0;
  for (size_t i = 0; i + 1 < model_->steps.size(); ++i) {
    beside += model_->steps[i].rows > 1 && model_->steps[i + 1].rows == 1;
  }
  EXPECT_GE(beside, 3);
}

TEST_F(EngineTest, ACancelledRequestsBlocksAreFreeAtOnce) {
  EngineOptions options;
  options.prefix_cache = false;
  model_->wrap = 50;
  model_->set_context_length(1 << 20);
  Engine engine = make(options);
  for (int i = 0; i < 20; ++i) {
    Listener listener;
    std::promise<void> begun;
    auto sink = [&, told = false](const Event& event) mutable {
      if (std::holds_alternative<TextDelta>(event) && !std::exchange(told, true)) begun.set_value();
      listener.sink()(event);
    };
    const auto id = engine.submit(prompt_of(std::vector<int32_t>(300, 1)), at_most(100'000), sink);
    begun.get_future().wait();
    engine.cancel(id);
    listener.wait();
    EXPECT_EQ(listener.finished.reason, FinishReason::kCancelled);
  }
  Listener last;
  engine.submit(prompt_of({1}), at_most(1), last.sink());
  last.wait();
  while (engine.status().running > 0) std::this_thread::yield();
  EXPECT_EQ(engine.status().kv_bytes, 0);
  EXPECT_EQ(engine.status().waiting, 0);
  EXPECT_GE(engine.status().prompt_rows, 20 * 300);
}

// A second question begins where the first ended.
TEST_F(EngineTest, TheNextTurnFindsTheRowsOfTheLast) {
  model_->set_context_length(10'000);
  Engine engine = make();
  std::vector<int32_t> tokens(500, 2);
  for (int turn = 0; turn < 3; ++turn) {
    Listener listener;
    engine.submit(prompt_of(tokens), at_most(5), listener.sink());
    listener.wait();
    // All that the turn before had but the token that it did not compute.
    const int older = static_cast<int>(tokens.size()) - 3;
    EXPECT_EQ(listener.finished.usage.cached_tokens, turn == 0 ? 0 : older) << turn;
    EXPECT_EQ(listener.finished.timings.prompt_n, turn == 0 ? 500 : 3);
    for (int i = 1; i <= 5; ++i) tokens.push_back(tokens[tokens.size() - 1] + 1);
    tokens.push_back(2);
    tokens.push_back(2);
  }
}

TEST_F(EngineTest, APromptThatNeverFitsIsRefusedAlone) {
  model_->set_context_length(100'000);
  EngineOptions options;
  options.kv_cache_bytes = 3 * 2 * kernels::kBlockRows * int64_t{sizeof(float)};
  Engine engine = make(options);
  Listener large;
  Listener small;
  engine.submit(prompt_of(std::vector<int32_t>(1000, 1)), at_most(1), large.sink());
  engine.submit(prompt_of({1}), at_most(2), small.sink());
  large.wait();
  small.wait();
  EXPECT_EQ(large.failed.kind, ErrorKind::kTooLarge);
  EXPECT_EQ(large.failed.message,
            "[cache] expected keys and values of 1000 tokens to fit 3072 bytes but they do not");
  EXPECT_EQ(small.text, "cd");
}

// The request would take hours.
TEST_F(EngineTest, EndingTheEngineEndsItsRequests) {
  model_->wrap = 50;
  model_->set_context_length(1 << 30);
  Listener listener;
  {
    Barrier second(*model_, 2);
    Engine engine = make();
    engine.submit(prompt_of({0}), at_most(1 << 29), listener.sink());
    second.wait_until_reached();
    second.open();
  }
  EXPECT_EQ(listener.ends(), 1);
  EXPECT_EQ(listener.finished.reason, FinishReason::kCancelled);
  EXPECT_GE(listener.finished.usage.completion_tokens, 1);
}

}  // namespace
}  // namespace fovea::generate

// The engine with a model whose next token is the last one plus one.
#include "generate/engine.h"

#include <gtest/gtest.h>

#include <atomic>
#include <condition_variable>
#include <functional>
#include <future>
#include <mutex>
#include <stdexcept>

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

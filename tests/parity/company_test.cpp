// A request's answer does not depend on what else the engine does, nor on what it did before: for
// every checkpoint of the parity fixtures, the answers alone against those in a crowd, from cached
// rows, beside requests that are cancelled, and where memory is too small for all.
#include <gtest/gtest.h>

#include <condition_variable>
#include <map>
#include <mutex>
#include <random>
#include <thread>

#include "generate/cache/block_cache.h"
#include "generate/engine.h"
#include "models/model.h"
#include "processors/processor.h"
#include "support/parity_cases.h"

namespace fovea {
namespace {

using testing::read_request;

namespace fs = std::filesystem;

constexpr int kAnswerTokens = 12;
constexpr size_t kPromptsMax = 4;  // of one checkpoint

struct Question {
  Prompt prompt;
  SamplingParams params;
};

// An answer as it comes.
class Answer {
 public:
  generate::EventSink sink() {
    return [this](const Event& event) {
      const std::lock_guard lock(mutex_);
      if (const auto* delta = std::get_if<TextDelta>(&event)) {
        tokens.insert(tokens.end(), delta->token_ids.begin(), delta->token_ids.end());
      }
      if (const auto* failed = std::get_if<Failed>(&event))
        failure = failed->message, ended_ = true;
      if (const auto* done = std::get_if<Finished>(&event)) finished = *done, ended_ = true;
      changed_.notify_all();
    };
  }
  void wait() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return ended_; });
  }

  std::vector<int32_t> tokens;
  std::string failure;
  Finished finished;

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool ended_ = false;
};

SamplingParams greedy() {
  SamplingParams params;
  params.temperature = 0;
  params.max_tokens = kAnswerTokens;
  return params;
}

SamplingParams sampled(uint64_t seed) {
  SamplingParams params = greedy();
  params.temperature = 1;
  params.top_p = 0.9;
  params.seed = seed;
  return params;
}

// A checkpoint, and questions to it: those of its cases, and further turns of them.
class Company : public ::testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    const Checkpoint checkpoint = open_checkpoint(GetParam());
    processor_ = std::make_unique<processors::Processor>(checkpoint);
    model_ = models::load_model(checkpoint);
    for (const auto& c : testing::parity_cases()) {
      if (c.checkpoint != GetParam() || questions_.size() >= 3 * kPromptsMax) continue;
      Prompt prompt = processor_->process(read_request(c.folder));
      questions_.push_back({prompt, greedy()});
      questions_.push_back({prompt, sampled(questions_.size())});
      // Text behind, up to a few rows before the end of a block: the answer needs another.
      const auto length = static_cast<int>(prompt.tokens.size());
      const int block = kernels::kBlockRows;
      const int words = std::min((length / block + 1) * block - length - kAnswerTokens / 2,
                                 model_->info().context_length - length - kAnswerTokens);
      for (int i = 0; i < words; ++i) prompt.tokens.push_back(20 + i % 9);
      questions_.push_back({std::move(prompt), greedy()});
    }
    for (const auto& question : questions_) {
      generate::EngineOptions options;
      options.prefix_cache = false;
      alone_.push_back(answer(options, question));
    }
  }

  std::unique_ptr<generate::Engine> engine(const generate::EngineOptions& options) const {
    return std::make_unique<generate::Engine>(model_, processor_->tokenizer(), options);
  }

  std::vector<int32_t> answer(const generate::EngineOptions& options,
                              const Question& question) const {
    Answer answer;
    const auto one = engine(options);
    one->submit(question.prompt, question.params, answer.sink());
    answer.wait();
    EXPECT_EQ(answer.failure, "");
    return answer.tokens;
  }

  // All questions at once, `times` over, in another order each time.
  void expect_equal_in_a_crowd(generate::Engine& engine, int times, const std::string& what) const {
    std::mt19937 random(7);
    std::vector<size_t> order;
    for (int i = 0; i < times; ++i) {
      std::vector<size_t> once(questions_.size());
      for (size_t q = 0; q < once.size(); ++q) once[q] = q;
      std::shuffle(once.begin(), once.end(), random);
      order.insert(order.end(), once.begin(), once.end());
    }
    std::vector<Answer> answers(order.size());
    for (size_t i = 0; i < order.size(); ++i) {
      const auto& question = questions_[order[i]];
      engine.submit(question.prompt, question.params, answers[i].sink());
    }
    for (size_t i = 0; i < order.size(); ++i) {
      answers[i].wait();
      EXPECT_EQ(answers[i].failure, "") << what;
      EXPECT_EQ(answers[i].tokens, alone_[order[i]]) << what << ", question " << order[i];
    }
  }

  std::unique_ptr<processors::Processor> processor_;
  std::shared_ptr<const models::Model> model_;
  std::vector<Question> questions_;
  std::vector<std::vector<int32_t>> alone_;
};

TEST_P(Company, AnswersAreThoseOfRequestsAlone) {
  for (const bool prefix_cache : {false, true}) {
    for (const int step : {5, 2048}) {
      generate::EngineOptions options;
      options.prefix_cache = prefix_cache;
      options.recompute_generated = true;
      options.prefill_step_size = step;
      const auto crowd = engine(options);
      expect_equal_in_a_crowd(*crowd, 2, fmt::format("cache {} step {}", prefix_cache, step));
    }
  }
}

TEST_P(Company, CachedRowsGiveTheSameAnswer) {
  generate::EngineOptions options;
  options.recompute_generated = true;
  const auto one = engine(options);
  for (int round = 0; round < 2; ++round) {
    for (size_t i = 0; i < questions_.size(); ++i) {
      const auto& question = questions_[i];
      Answer answer;
      one->submit(question.prompt, question.params, answer.sink());
      answer.wait();
      EXPECT_EQ(answer.tokens, alone_[i]) << i;
      if (round == 0) continue;
      // All rows but the last, unless rows see later ones: none of such a span is computed alone.
      int most = static_cast<int>(question.prompt.tokens.size()) - 1;
      for (const auto& span : model_->attention_spans(question.prompt)) {
        if (span.begin < most && most < span.begin + span.count) most = span.begin;
      }
      EXPECT_EQ(answer.finished.usage.cached_tokens, most) << i;
      EXPECT_EQ(answer.finished.timings.vision_ms, 0) << i;
    }
  }
}

TEST_P(Company, CancelledRequestsLeaveNoTrace) {
  generate::EngineOptions options;
  options.recompute_generated = true;
  options.prefill_step_size = 5;
  const auto one = engine(options);
  std::vector<Answer> cancelled(questions_.size());
  std::vector<generate::RequestId> ids;
  for (size_t i = 0; i < questions_.size(); ++i) {
    ids.push_back(one->submit(questions_[i].prompt, questions_[i].params, cancelled[i].sink()));
  }
  for (size_t i = 0; i < ids.size(); ++i) {
    if (i % 3 == 1) std::this_thread::sleep_for(std::chrono::milliseconds(i % 4));
    one->cancel(ids[i]);
  }
  expect_equal_in_a_crowd(*one, 1, "after cancelled ones");
  for (auto& answer : cancelled) answer.wait();
}

// Room for the largest question and little more: others wait, and begin anew.
TEST_P(Company, AnswersDoNotDependOnTheRoomForThem) {
  size_t longest = 0;
  for (const auto& question : questions_)
    longest = std::max(longest, question.prompt.tokens.size());
  const auto block = kernels::kBlockRows;
  const int blocks = (static_cast<int>(longest) + kAnswerTokens + block - 1) / block;
  for (const bool prefix_cache : {false, true}) {
    generate::EngineOptions options;
    options.prefix_cache = prefix_cache;
    options.kv_cache_bytes = generate::BlockCache::estimated_bytes(
        model_->kv_layers(), (blocks + 1) * block, static_cast<int>(longest), 0);
    const auto small = engine(options);
    expect_equal_in_a_crowd(*small, 2, fmt::format("cache {}", prefix_cache));
    EXPECT_GT(small->status().begun_anew, 0);
  }
}

// Where a step's size shows in the bits, it does not depend on company either.
TEST_P(Company, FixedStepsGiveTheSameAnswers) {
  generate::EngineOptions bounded;
  bounded.max_kv_size = 60;
  generate::EngineOptions bytes;
  bytes.kv_bits = 8;
  bytes.kv_group_size = 32;
  bytes.quantized_kv_start = 50;
  for (auto options : {bounded, bytes}) {
    options.prefill_step_size = 16;
    for (size_t i = 0; i < questions_.size(); ++i) alone_[i] = answer(options, questions_[i]);
    const auto crowd = engine(options);
    expect_equal_in_a_crowd(*crowd, 2, fmt::format("kv_bits {}", options.kv_bits));
    // Rows in 8 bits of heads as small as these take more than twice as much, and both are there
    // while they change.
    options.kv_cache_bytes =
        generate::BlockCache::estimated_bytes(model_->kv_layers(), 12 * kernels::kBlockRows, 16, 0);
    const auto small = engine(options);
    expect_equal_in_a_crowd(*small, 1, fmt::format("kv_bits {}, small", options.kv_bits));
  }
}

std::vector<std::string> checkpoints() {
  std::map<std::string, int> found;
  for (const auto& c : testing::parity_cases()) ++found[c.checkpoint.string()];
  std::vector<std::string> all;
  for (const auto& [checkpoint, count] : found) all.push_back(checkpoint);
  return all;
}

INSTANTIATE_TEST_SUITE_P(Checkpoints, Company, ::testing::ValuesIn(checkpoints()),
                         [](const auto& param) {
                           const fs::path path(param.param);
                           std::string name = path.parent_path().parent_path().filename().string() +
                                              "_" + path.filename().string();
                           std::replace_if(
                               name.begin(), name.end(),
                               [](char c) { return !std::isalnum(static_cast<unsigned char>(c)); },
                               '_');
                           return name;
                         });

}  // namespace
}  // namespace fovea

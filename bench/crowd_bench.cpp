// How does the engine serve many at once? Closed loops of clients against a checkpoint folder, in
// one process: each asks its next question when its last is answered. Prints one JSON object a
// line: tokens a second of all together, and how long first tokens and the gaps between tokens
// took.
//
// crowd_bench FOLDER KIND [CLIENTS...]: KIND is `text` (prompts that begin differently), `prefix`
// (a long beginning that all share), `pictures` (a new one in each request), or `picture` (one, in
// all requests).
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <future>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "base/json.h"
#include "encoded.h"
#include "generate/engine.h"
#include "generate/opened_model.h"

namespace {

using namespace fovea;
using Clock = std::chrono::steady_clock;

constexpr int kRequestsPerClient = 3;
constexpr int kAnswerTokens = 64;

double seconds_since(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

// A picture that no other number has.
std::string picture(int number) {
  auto image = bench::scene({320, 240});
  for (int i = 0; i < 32; ++i) {
    const bool bit = (number >> i) & 1;
    std::fill_n(image.rgb.begin() + i * 30, 30, static_cast<uint8_t>(bit ? 255 : 0));
  }
  return bench::as_png(image);
}

ChatRequest question(const std::string& kind, int number) {
  std::string text = fmt::format("{}: what follows from this, and what does not?", number);
  if (kind == "prefix") {
    std::string shared;
    for (int i = 0; i < 60; ++i) shared += fmt::format("Rule {} says that all is well. ", i);
    text = shared + text;
  }
  ChatRequest request;
  Message message{"user", {}, {}};
  if (kind == "pictures" || kind == "picture") {
    request.images.push_back({"scene.png", picture(kind == "picture" ? 0 : number)});
    message.parts.push_back({Part::Kind::kImage, "", 0});
  }
  message.parts.push_back({Part::Kind::kText, text, -1});
  request.messages = {message};
  return request;
}

struct Times {
  std::mutex mutex;
  std::vector<double> first;
  std::vector<double> gaps;
  int64_t tokens = 0;
};

void ask(generate::Engine& engine, const generate::OpenedModel& opened, const ChatRequest& request,
         Times& times) {
  SamplingParams params;
  params.max_tokens = kAnswerTokens;
  params.temperature = 0;
  const auto begin = Clock::now();
  auto last = begin;
  const auto end = std::make_shared<std::promise<void>>();  // the engine may be in it still
  engine.submit(opened.prompt(request, params), params, [&, end](const Event& event) {
    if (std::holds_alternative<TextDelta>(event)) {
      const std::lock_guard lock(times.mutex);
      const double gap = seconds_since(last);
      (last == begin ? times.first : times.gaps).push_back(gap);
      last = Clock::now();
      ++times.tokens;
    }
    if (const auto* failed = std::get_if<Failed>(&event)) {
      std::fprintf(stderr, "%s\n", failed->message.c_str());
      std::exit(1);
    }
    if (std::holds_alternative<Finished>(event)) end->set_value();
  });
  end->get_future().wait();
}

double at_quantile(std::vector<double> values, double quantile) {
  if (values.empty()) return 0;
  std::sort(values.begin(), values.end());
  return values[static_cast<size_t>(quantile * static_cast<double>(values.size() - 1))];
}

void bench_clients(const generate::OpenedModel& opened,
                   const std::shared_ptr<const models::Model>& model, const std::string& kind,
                   int clients, int& number) {
  generate::Engine engine(model, opened.processor().tokenizer(), {});
  Times warm;
  ask(engine, opened, question(kind, number++), warm);
  Times times;
  const auto before = engine.status();
  const auto begin = Clock::now();
  std::vector<std::thread> threads;
  for (int client = 0; client < clients; ++client) {
    const int first = number + client * kRequestsPerClient;
    threads.emplace_back([&, first] {
      for (int i = 0; i < kRequestsPerClient; ++i) {
        ask(engine, opened, question(kind, first + i), times);
      }
    });
  }
  for (auto& thread : threads) thread.join();
  const double seconds = seconds_since(begin);
  number += clients * kRequestsPerClient;
  const auto after = engine.status();
  JsonObject line;
  line.set("name", fmt::format("crowd {} clients={}", kind, clients))
      .set("tokens_per_s", static_cast<double>(times.tokens) / seconds)
      .set("requests_per_s", clients * kRequestsPerClient / seconds)
      .set("first_token_p50_s", at_quantile(times.first, 0.5))
      .set("first_token_p99_s", at_quantile(times.first, 0.99))
      .set("gap_p50_ms", 1e3 * at_quantile(times.gaps, 0.5))
      .set("gap_p99_ms", 1e3 * at_quantile(times.gaps, 0.99))
      .set("prompt_rows", double(after.prompt_rows - before.prompt_rows))
      .set("cached_tokens", double(after.cached_tokens - before.cached_tokens));
  std::printf("%s\n", line.dump().c_str());
  std::fflush(stdout);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3) {
    std::fprintf(stderr, "crowd_bench FOLDER text|prefix|pictures|picture [CLIENTS...]\n");
    return 2;
  }
  const generate::OpenedModel opened(argv[1]);
  const auto model = opened.load();
  std::vector<int> clients;
  for (int i = 3; i < argc; ++i) clients.push_back(std::stoi(argv[i]));
  if (clients.empty()) clients = {1, 4, 8, 16};
  int number = 1;
  for (const int count : clients) bench_clients(opened, model, argv[2], count, number);
  return 0;
}

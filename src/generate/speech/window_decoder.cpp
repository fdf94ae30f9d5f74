#include "generate/speech/window_decoder.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <optional>

#include "kernels/memory.h"
#include "kernels/op.h"
#include "mlx/ops.h"
#include "mlx/transforms.h"

namespace fovea::generate {
namespace {

// The first timestamp is at most 1 s behind the window's begin.
constexpr int kFirstTimestampMax = 50;

std::vector<float> host_row(const mx::array& x) {
  const float* begin = x.data<float>();
  return {begin, begin + x.size()};
}

size_t likeliest(std::span<const float> logits) {
  return static_cast<size_t>(std::max_element(logits.begin(), logits.end()) - logits.begin());
}

// By exp(logit / temperature).
size_t drawn(std::span<const float> logits, double temperature, std::mt19937_64& random) {
  const double top = static_cast<double>(logits[likeliest(logits)]);
  std::vector<double> weights;
  for (const float logit : logits) {
    weights.push_back(std::exp((static_cast<double>(logit) - top) / temperature));
  }
  // In whole steps, so that every library draws the same.
  double total = 0;
  for (const double weight : weights) total += weight;
  double left = total * (static_cast<double>(random() >> 11) * 0x1p-53);
  for (size_t i = 0; i < weights.size(); ++i) {
    left -= weights[i];
    if (left < 0) return i;
  }
  return likeliest(logits);
}

}  // namespace

WindowDecoder::WindowDecoder(std::shared_ptr<const models::Model> model, WhisperTokens tokens)
    : model_(std::move(model)),
      tokens_(std::move(tokens)),
      cache_(model_->info().num_layers, model_->info().context_length) {}

void WindowDecoder::take(HostTensor rows, const models::StageSink& sink) {
  sink_ = sink;
  MediaSpan span;
  span.pixels = std::move(rows);
  const auto states_SD = model_->encode_media(span);
  mx::eval(states_SD);
  if (sink_) {
    const auto& shape = span.pixels.shape;
    sink_("input_features", mx::array(span.pixels.data.data(), {shape[0], shape[1]}, mx::float32));
    sink_("encoder", states_SD);
  }
  Prompt prompt;
  prompt.media.push_back(std::move(span));
  cache_.forget_rows();
  model_->keep_states(prompt, {states_SD}, 0, cache_);
  kernels::trim_allocator_cache();
}

// Logits of `rows` of a step.
std::vector<std::vector<float>> WindowDecoder::step(std::span<const int32_t> tokens,
                                                    std::vector<int> rows, bool generated) {
  std::optional<kernels::AtOnce> at_once;
  if (generated) at_once.emplace();
  const auto count = static_cast<int>(tokens.size());
  std::vector<int32_t> positions;
  for (int i = 0; i < count; ++i) positions.push_back(cache_.length() + i);
  const nn::Segment segment{0, 0, count, generated};
  const models::Batch batch{model_->embed_tokens(tokens),
                            mx::array(positions.data(), {1, count}, mx::int32),
                            {&segment, 1},
                            rows};
  auto logits = model_->forward(batch, cache_, sink_);
  if (sink_) sink_("logits", logits);
  sink_ = {};
  logits = mx::contiguous(logits);
  mx::eval(logits);
  const auto all = host_row(logits);
  const size_t width = rows.empty() ? 0 : all.size() / rows.size();
  std::vector<std::vector<float>> of_rows;
  for (size_t i = 0; i < rows.size(); ++i) {
    const auto begin = all.begin() + static_cast<std::ptrdiff_t>(i * width);
    of_rows.emplace_back(begin, begin + static_cast<std::ptrdiff_t>(width));
  }
  return of_rows;
}

std::vector<float> WindowDecoder::logits_behind(std::span<const int32_t> prompt) {
  cache_.forget_rows();
  return step(prompt, {static_cast<int>(prompt.size()) - 1}, false)[0];
}

WindowAnswer WindowDecoder::decode(const std::vector<int32_t>& prompt, size_t start,
                                   bool with_timestamps, double temperature,
                                   std::mt19937_64& random, const std::function<bool()>& stop) {
  const auto last = static_cast<int>(prompt.size()) - 1;
  const bool apart = static_cast<int>(start) != last;
  std::vector<int> rows;
  if (apart) rows.push_back(static_cast<int>(start));
  rows.push_back(last);
  cache_.forget_rows();
  auto logits = step(prompt, rows, false);
  WindowAnswer answer;
  answer.temperature = temperature;
  if (tokens_.no_speech) {
    auto first = logits.front();
    log_softmax(first);
    answer.no_speech_probability =
        std::exp(static_cast<double>(first[static_cast<size_t>(*tokens_.no_speech)]));
  }
  const int room =
      std::min(info().context_length / 2, info().context_length - static_cast<int>(prompt.size()));
  auto next = std::move(logits.back());
  double sum = 0;
  bool ended = false;
  while (static_cast<int>(answer.tokens.size()) < room && !(stop && stop())) {
    apply_whisper_rules(tokens_, answer.tokens, with_timestamps, kFirstTimestampMax, next);
    log_softmax(next);
    const size_t id = temperature > 0 ? drawn(next, temperature, random) : likeliest(next);
    sum += static_cast<double>(next[id]);
    ended = static_cast<int32_t>(id) == tokens_.end_of_text;
    if (ended) break;
    answer.tokens.push_back(static_cast<int32_t>(id));
    if (static_cast<int>(answer.tokens.size()) < room) {
      next = std::move(step({&answer.tokens.back(), 1}, {0}, true)[0]);
    }
  }
  answer.mean_logprob = sum / static_cast<double>(answer.tokens.size() + 1);
  return answer;
}

WindowDecoder::Attention WindowDecoder::attention(
    std::span<const int32_t> tokens, const std::vector<OneSequenceCache::Head>& heads) {
  cache_.forget_rows();
  cache_.watch(heads);
  std::vector<int> rows(tokens.size() - 1);
  std::iota(rows.begin(), rows.end(), 0);
  Attention attention;
  auto logits = step(tokens, rows, false);
  for (size_t i = 0; i < logits.size(); ++i) {
    log_softmax(logits[i]);
    const auto next = static_cast<size_t>(tokens[i + 1]);
    attention.probabilities.push_back(std::exp(static_cast<double>(logits[i][next])));
  }
  for (const auto& watched : cache_.watched()) {
    const auto flat = mx::contiguous(watched);
    mx::eval(flat);
    attention.weights.push_back(host_row(flat));
  }
  cache_.watch({});
  return attention;
}

}  // namespace fovea::generate

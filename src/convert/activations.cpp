#include "convert/activations.h"

#include <algorithm>

#include "convert/whole_prompts.h"
#include "mlx/ops.h"
#include "mlx/transforms.h"
#include "nn/input_tap.h"
#include "nn/linear.h"

namespace fovea::convert {
namespace {

class Addresses : public nn::PathVisitor {
 public:
  void parameter(const std::string&, mx::array&) override {}
  void quantizable(nn::QuantizableWeight& weight) override { found[module_name()] = &weight; }

  std::map<std::string, const nn::QuantizableWeight*> found;
};

class Gatherer : public nn::InputTap {
 public:
  // `kept` rows of all that come, ascending.
  Gatherer(models::Model& model, const std::vector<models::InputGroup>& groups,
           std::vector<int> kept, std::function<void()> step)
      : step_(std::move(step)), kept_(std::move(kept)) {
    Addresses addresses;
    model.visit(addresses);
    for (const auto& group : groups) {
      const auto found = addresses.found.find(group.products[0]);
      if (found != addresses.found.end()) inputs_[found->second].path = group.products[0];
    }
  }

  int inputs() const { return static_cast<int>(inputs_.size()); }

  // Rows [begin, end) of all come next.
  void expect_rows(int begin, int end) {
    std::vector<int> picks;
    for (const int row : kept_) {
      if (row >= begin && row < end) picks.push_back(row - begin);
    }
    picks_ = mx::array(picks.data(), {static_cast<int>(picks.size())}, mx::int32);
  }

  void input(const nn::QuantizableWeight& weight, const mx::array& x) override {
    const auto found = inputs_.find(&weight);
    if (found == inputs_.end()) return;
    const auto x_TK = mx::reshape(x, {-1, x.shape(-1)});
    auto rows = mx::astype(mx::take(x_TK, picks_, 0), mx::bfloat16);
    mx::eval(rows);  // now, so that no more than this layer is in memory
    found->second.rows.push_back(std::move(rows));
    step_();
  }

  std::map<std::string, Activations> take() {
    std::map<std::string, Activations> all;
    for (auto& [weight, input] : inputs_) {
      if (input.rows.empty()) continue;
      auto rows_NK = mx::concatenate(input.rows, 0);
      mx::eval(rows_NK);
      input.rows.clear();
      all.emplace(input.path, std::move(rows_NK));
    }
    return all;
  }

 private:
  struct Input {
    std::string path;
    std::vector<mx::array> rows;
  };
  std::function<void()> step_;
  std::vector<int> kept_;
  mx::array picks_ = mx::array(0);
  std::map<const nn::QuantizableWeight*, Input> inputs_;
};

int rows_of(const Prompt& prompt) { return static_cast<int>(prompt.tokens.size()); }

// `count` of these at most, evenly.
std::vector<int> evenly(const std::vector<int>& from, int count) {
  const auto size = static_cast<int64_t>(from.size());
  const int64_t kept = std::min<int64_t>(count, size);
  std::vector<int> picked;
  for (int64_t i = 0; i < kept; ++i) {
    picked.push_back(from[static_cast<size_t>(i * size / kept)]);
  }
  return picked;
}

// Which rows of all prompts stand for the rest.
std::vector<int> kept_rows(const std::vector<Prompt>& prompts) {
  std::vector<int> text;
  std::vector<int> media;
  int begin = 0;
  for (const auto& prompt : prompts) {
    std::vector<bool> of_media(prompt.tokens.size(), false);
    for (const auto& span : prompt.media) {
      for (const auto& [first, count] : token_runs(span)) {
        std::fill_n(of_media.begin() + first, count, true);
      }
    }
    for (size_t i = 0; i < of_media.size(); ++i) {
      (of_media[i] ? media : text).push_back(begin + static_cast<int>(i));
    }
    begin += rows_of(prompt);
  }
  auto kept = evenly(media, text.empty() ? kKeptRows : kKeptMediaRows);
  const auto others = evenly(text, kKeptRows - static_cast<int>(kept.size()));
  kept.insert(kept.end(), others.begin(), others.end());
  std::sort(kept.begin(), kept.end());
  return kept;
}

// The prompts as rows of one step, none of whose logits are wanted.
void read_prompts(const models::Model& model, std::span<const Prompt> prompts) {
  std::vector<mx::array> embeds;
  std::vector<mx::array> positions;
  std::vector<std::vector<TokenRun>> spans;
  std::vector<nn::Segment> segments;
  WholePrompts cache;
  int begin = 0;
  for (const auto& prompt : prompts) {
    const auto sequence = static_cast<int>(segments.size());
    embeds.push_back(models::embed_prompt(model, prompt, sequence, cache, {}));
    mx::eval(embeds.back());
    positions.push_back(model.position_ids(prompt).position_ids_AL);
    spans.push_back(model.attention_spans(prompt));
    segments.push_back({sequence, begin, rows_of(prompt)});
    begin += rows_of(prompt);
  }
  for (size_t i = 0; i < segments.size(); ++i) segments[i].spans = spans[i];
  model.forward({mx::concatenate(embeds, 0), mx::concatenate(positions, 1), segments, {}}, cache);
}

// Where passes end: indices of prompts, ascending.
std::vector<size_t> pass_ends(const std::vector<Prompt>& prompts) {
  std::vector<size_t> ends;
  int rows = 0;
  for (size_t i = 0; i < prompts.size(); ++i) {
    if (rows > 0 && rows + rows_of(prompts[i]) > kPassRows) {
      ends.push_back(i);
      rows = 0;
    }
    rows += rows_of(prompts[i]);
  }
  ends.push_back(prompts.size());
  return ends;
}

}  // namespace

std::map<std::string, Activations> gather_activations(
    models::Model& model, const std::vector<Prompt>& prompts,
    const std::vector<models::InputGroup>& groups,
    const std::function<void(int64_t, int64_t)>& step) {
  const auto ends = pass_ends(prompts);
  int64_t done = 0;
  int64_t all = 0;
  Gatherer gatherer(model, groups, kept_rows(prompts), [&] { step(++done, all); });
  all = int64_t{gatherer.inputs()} * static_cast<int64_t>(ends.size());
  size_t first = 0;
  int begin = 0;
  for (const size_t end : ends) {
    const auto pass = std::span(prompts).subspan(first, end - first);
    int after = begin;
    for (const auto& prompt : pass) after += rows_of(prompt);
    gatherer.expect_rows(begin, after);
    read_prompts(model, pass);
    first = end;
    begin = after;
  }
  return gatherer.take();
}

}  // namespace fovea::convert

#include "generate/speech/word_times.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "base/error.h"

namespace fovea::generate {
namespace {

constexpr int kMedianWidth = 7;
constexpr double kStateSeconds = 0.02;

// Over the columns of each row; the ends are mirrored.
void median_filter(std::vector<float>& values, int rows, int columns) {
  constexpr int kReach = kMedianWidth / 2;
  if (columns <= kReach) return;
  std::array<float, kMedianWidth> near{};
  std::vector<float> filtered(values.size());
  for (int row = 0; row < rows; ++row) {
    const float* from = values.data() + std::ptrdiff_t{row} * columns;
    for (int column = 0; column < columns; ++column) {
      for (int i = -kReach; i <= kReach; ++i) {
        int at = std::abs(column + i);
        if (at >= columns) at = 2 * (columns - 1) - at;
        near[static_cast<size_t>(i + kReach)] = from[at];
      }
      std::nth_element(near.begin(), near.begin() + kReach, near.end());
      filtered[static_cast<size_t>(std::ptrdiff_t{row} * columns + column)] = near[kReach];
    }
  }
  values = std::move(filtered);
}

// The first `columns` of a head's weights: each row of them sums to one, then each column has mean
// 0 and deviation 1.
std::vector<float> normalised(const std::vector<float>& weights, int rows, int states,
                              int columns) {
  std::vector<float> values;
  for (int row = 0; row < rows; ++row) {
    const auto begin = weights.begin() + std::ptrdiff_t{row} * states;
    double sum = 0;
    for (int i = 0; i < columns; ++i) sum += static_cast<double>(begin[i]);
    for (int i = 0; i < columns; ++i) {
      values.push_back(static_cast<float>(static_cast<double>(begin[i]) / std::max(sum, 1e-30)));
    }
  }
  for (int column = 0; column < columns; ++column) {
    const auto at = [&](int row) -> float& {
      return values[static_cast<size_t>(std::ptrdiff_t{row} * columns + column)];
    };
    double mean = 0;
    double square = 0;
    for (int row = 0; row < rows; ++row) mean += static_cast<double>(at(row)) / rows;
    for (int row = 0; row < rows; ++row) {
      square += std::pow(static_cast<double>(at(row)) - mean, 2) / rows;
    }
    const double deviation = std::max(std::sqrt(square), 1e-30);
    for (int row = 0; row < rows; ++row) {
      at(row) = static_cast<float>((static_cast<double>(at(row)) - mean) / deviation);
    }
  }
  median_filter(values, rows, columns);
  return values;
}

}  // namespace

std::vector<OneSequenceCache::Head> alignment_heads(const Checkpoint& checkpoint, int layers,
                                                    int heads) {
  std::vector<OneSequenceCache::Head> all;
  const Json listed = checkpoint.generation_config["alignment_heads"];
  for (size_t i = 0; i < listed.size(); ++i) {
    const auto pair = listed.at(i).as_int_list();
    if (pair.size() != 2 || pair[0] < 0 || pair[0] >= layers || pair[1] < 0 || pair[1] >= heads) {
      fail(ErrorKind::kInvalidData,
           "[generation_config.json] expected pairs of a layer and a head in 'alignment_heads' but "
           "got {}",
           listed.at(i).dump());
    }
    all.push_back({pair[0], pair[1]});
  }
  for (int layer = layers / 2; listed.size() == 0 && layer < layers; ++layer) {
    for (int head = 0; head < heads; ++head) all.push_back({layer, head});
  }
  // As the cache comes to them.
  std::stable_sort(all.begin(), all.end(),
                   [](const auto& a, const auto& b) { return a.layer < b.layer; });
  return all;
}

std::vector<int> entered_columns(std::span<const float> cost, int rows, int columns) {
  enum class From : uint8_t { kCorner, kAbove, kLeft };
  const auto width = static_cast<size_t>(columns);
  std::vector<double> best(cost.size());
  std::vector<From> from(cost.size(), From::kLeft);
  for (size_t row = 0; row < static_cast<size_t>(rows); ++row) {
    for (size_t column = 0; column < width; ++column) {
      const size_t at = row * width + column;
      double before = 0;
      if (row > 0 && column > 0) {
        const double corner = best[at - width - 1];
        const double above = best[at - width];
        const double left = best[at - 1];
        before = std::min({corner, above, left});
        from[at] = corner <= above && corner <= left ? From::kCorner
                   : above <= left                   ? From::kAbove
                                                     : From::kLeft;
      } else if (row > 0) {
        before = best[at - width];
        from[at] = From::kAbove;
      } else if (column > 0) {
        before = best[at - 1];
      }
      best[at] = before + static_cast<double>(cost[at]);
    }
  }
  std::vector<int> entered(static_cast<size_t>(rows), 0);
  auto row = static_cast<size_t>(rows) - 1;
  size_t column = width - 1;
  while (row > 0 || column > 0) {
    const From step = from[row * width + column];
    if (step != From::kLeft) entered[row--] = static_cast<int>(column);
    if (step != From::kAbove) --column;
  }
  return entered;
}

std::vector<WordTokens> split_words(std::span<const int32_t> ids,
                                    const processors::Tokenizer& tokenizer, bool spaces) {
  constexpr std::string_view kIncomplete = "\xEF\xBF\xBD";
  std::vector<WordTokens> words;
  std::vector<int32_t> held;
  for (size_t i = 0; i < ids.size(); ++i) {
    held.push_back(ids[i]);
    const std::string piece = tokenizer.decode(held, true);
    if (piece.find(kIncomplete) != std::string::npos && i + 1 < ids.size()) continue;
    if (words.empty() || !spaces || piece.starts_with(' ')) words.emplace_back();
    words.back().text += piece;
    words.back().ids.insert(words.back().ids.end(), held.begin(), held.end());
    held.clear();
  }
  return words;
}

void add_word_times(std::span<SpokenSegment> segments, const std::vector<int32_t>& begin,
                    const std::string& language, double offset, double seconds,
                    const std::vector<OneSequenceCache::Head>& heads,
                    const processors::Tokenizer& tokenizer, WindowDecoder& decoder) {
  constexpr std::array kWithoutSpaces = {"zh", "ja", "th", "lo", "my", "yue"};
  const bool spaces =
      std::find(kWithoutSpaces.begin(), kWithoutSpaces.end(), language) == kWithoutSpaces.end();
  std::vector<int32_t> sequence = begin;
  sequence.push_back(decoder.tokens().no_timestamps);
  for (const auto& segment : segments) {
    for (const int32_t id : segment.tokens) {
      if (id < decoder.tokens().end_of_text) sequence.push_back(id);
    }
  }
  const auto first = begin.size();  // the row that foretells the first word
  const auto rows = static_cast<int>(sequence.size() - first);
  const auto room = static_cast<size_t>(decoder.info().context_length);
  const int columns = static_cast<int>(seconds / kStateSeconds);
  if (rows < 2 || columns < 1 || sequence.size() > room) return;
  const auto seen = decoder.attention(sequence, heads);
  const auto states = static_cast<int>(seen.weights.at(0).size() / sequence.size());
  const int used = std::min(columns, states);
  std::vector<float> cost(static_cast<size_t>(rows) * static_cast<size_t>(used), 0);
  for (const auto& weights : seen.weights) {
    const auto all = normalised(weights, static_cast<int>(sequence.size()), states, used);
    for (size_t i = 0; i < cost.size(); ++i) {
      cost[i] -= all[first * static_cast<size_t>(used) + i] / static_cast<float>(heads.size());
    }
  }
  const auto entered = entered_columns(cost, rows, used);
  size_t row = 0;
  for (auto& segment : segments) {
    std::vector<int32_t> ids;
    for (const int32_t id : segment.tokens) {
      if (id < decoder.tokens().end_of_text) ids.push_back(id);
    }
    for (auto& word : split_words(ids, tokenizer, spaces)) {
      SpokenWord spoken{std::move(word.text), offset + kStateSeconds * entered[row], 0, 0};
      for (size_t i = 0; i < word.ids.size(); ++i, ++row) {
        spoken.probability +=
            seen.probabilities[first + row] / static_cast<double>(word.ids.size());
      }
      spoken.end = offset + kStateSeconds * entered[row];
      segment.words.push_back(std::move(spoken));
    }
  }
}

}  // namespace fovea::generate

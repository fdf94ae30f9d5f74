#include "generate/memory_estimate.h"

#include <algorithm>
#include <fstream>
#include <set>
#include <string>

#include "base/number.h"
#include "kernels/block_attention.h"
#include "kernels/kv_bytes.h"
#include "models/names.h"
#include "models/vision/patches.h"
#include "nn/linear.h"

namespace fovea::generate {
namespace {

namespace mx = mlx::core;

// MLX takes memory for results when their ops are queued, ahead of the work, and keeps freed blocks
// of each size for the next array of that size: scratch memory is that of every width that a row
// takes on its way, this many times over. Measured with bench/run estimate.
constexpr double kArraysOfTextWidths = 9;
constexpr double kArraysOfTowerWidths = 7.8;
// Of them, those in use at once; the others are kept, which has a limit.
constexpr double kArraysInUse = 2.2;
// Of what passes through the tower gave, put together, and laid out anew for a connector.
constexpr int64_t kArraysOfTiles = 5;
// What threads and the allocator keep whatever the request.
constexpr int64_t kBaseBytes = 12'000'000;

// The widths that rows of a part of the model take on, and its weights.
struct Part {
  int64_t weight_bytes = 0;
  std::set<int> widths;
  bool is_float32 = false;

  int64_t scratch_bytes(int64_t rows, double arrays) const {
    if (widths.empty()) return 0;
    int64_t width = 0;
    for (const int w : widths) width += w;
    const auto all = static_cast<double>(rows * width * 4);
    // The block that passes the limit is kept too.
    const auto kept = static_cast<double>(kAllocatorCacheBytes) +
                      static_cast<double>(rows * *widths.rbegin() * 4);
    return static_cast<int64_t>(std::min(arrays * all, kArraysInUse * all + kept));
  }
};

class Survey : public nn::PathVisitor {
 public:
  void parameter(const std::string& name, mx::array& value) override {
    const auto bytes = static_cast<int64_t>(value.nbytes());
    Part& part = part_of(full_name(name));
    part.weight_bytes += bytes;
    if (&part == &text && module_name().ends_with("embed_tokens")) table_bytes += bytes;
  }

  void quantizable(nn::QuantizableWeight& weight) override {
    const std::string path = module_name();
    Part& part = part_of(path);
    part.is_float32 = part.is_float32 || weight.dtype() == mx::float32;
    const bool embeds = has(path, "patch_embed");
    if (embeds) {
      patch_values = weight.in_size();
      tower_width = weight.out_size();
    }
    const bool table = dynamic_cast<nn::Embedding*>(&weight);
    if (&part == &towers && !table) widest_input = std::max(widest_input, weight.in_size());
    // Tables and heads have a row for each token of the vocabulary, whose width no row takes.
    const bool head = path.ends_with("lm_head");
    has_head = has_head || head;
    if (head || table) return;
    const bool behind =
        &part == &towers && !embeds && !has(path, "layers.") && !has(path, "blocks.");
    (behind ? connectors : part).widths.insert(weight.out_size());
  }

  Part text;
  Part towers;
  Part connectors;  // of towers what stands behind their layers, where rows are a picture's tokens
  int64_t patch_values = 0;
  int64_t tower_width = 0;
  int widest_input = 0;     // of a tower's weight
  int64_t table_bytes = 0;  // of the tokens' embeddings
  bool has_head = false;    // or the table is the head too

 private:
  static bool has(const std::string& path, const char* part) {
    return path.find(part) != std::string::npos;
  }

  Part& part_of(const std::string& path) { return models::is_multimodal(path) ? towers : text; }
};

// What keys and values take, whose rows are in 8 bits from some step on where that is asked for.
class KeptValues {
 public:
  KeptValues(std::vector<nn::KvLayer> layers, const models::TextLimits& limits,
             const EstimateOptions& options, bool is_float32)
      : layers_(std::move(layers)),
        limits_(limits),
        options_(options),
        plain_bytes_(is_float32 ? 4 : 2) {}

  // Of a prompt that comes by `step` rows, and its answer up to `end` rows in all.
  int64_t bytes_of_rows(int tokens, int step, int end) const {
    // The first step that begins with as many rows as are kept plain.
    const int start = options_.quantized_kv_start;
    const int chunks = step > 0 ? (start + step - 1) / step : 0;
    const int changed = chunks * step < tokens ? chunks * step : std::max(tokens, start);
    if (options_.kv_bits == 0 || changed >= end) return bytes_of(end, step, false);
    const int64_t bytes = bytes_of(end, step, true);
    return changed == 0 ? bytes : std::max(bytes, bytes_of(changed, step, false));
  }

  int64_t bytes_of_states(int64_t states) const {
    const bool bytes = options_.kv_bits != 0 && states >= options_.quantized_kv_start;
    if (!bytes) return 2 * states * limits_.state_values * plain_bytes_;
    return 2 * states * limits_.state_values / limits_.head_dim * byte_row(limits_.head_dim);
  }

 private:
  int64_t byte_row(int head_dim) const {
    return kernels::kv_row_bytes(head_dim, options_.kv_group_size);
  }

  // Blocks have room for more rows, which costs nothing until they come.
  int64_t bytes_of(int rows, int step, bool bytes) const {
    int64_t all = 0;
    for (const auto& layer : layers_) {
      int64_t kept = rows;
      for (const int most : {layer.window, layer.chunk, options_.max_kv_size}) {
        if (most > 0) kept = std::min(kept, int64_t{most} + step + kernels::kBlockRows);
      }
      const int64_t row =
          bytes ? byte_row(layer.head_dim) : int64_t{layer.head_dim} * mx::size_of(layer.dtype);
      all += 2 * kept * layer.heads * row;
    }
    return all;
  }

  std::vector<nn::KvLayer> layers_;
  const models::TextLimits& limits_;
  const EstimateOptions& options_;
  int64_t plain_bytes_;
};

// The number after "NAME:" in a file of /proc, in kB there.
int64_t proc_bytes(const char* file, const std::string& name) {
  std::ifstream lines(file);
  std::string word;
  while (lines >> word) {
    int64_t kilobytes = 0;
    if (word == name + ":" && lines >> kilobytes) return kilobytes * 1024;
  }
  return 0;
}

std::optional<int64_t> control_group_room() {
  const auto number_in = [](const char* file) -> std::optional<int64_t> {
    std::string text;
    std::ifstream(file) >> text;
    return read_number<int64_t>(text, 0, std::numeric_limits<int64_t>::max());
  };
  const auto limit = number_in("/sys/fs/cgroup/memory.max");
  const auto used = number_in("/sys/fs/cgroup/memory.current");
  if (!limit || !used) return std::nullopt;
  return std::max<int64_t>(0, *limit - *used);
}

}  // namespace

int64_t MemoryEstimate::total() const {
  return process + std::max(vision, weights + cache + prompt);
}

MemoryEstimate estimate_memory(models::Model& model, const models::TextLimits& limits,
                               const Prompt& prompt, const EstimateOptions& options) {
  Survey survey;
  model.visit(survey);
  // Blocks of the tower's serve what has their size.
  for (const int width : survey.towers.widths) survey.connectors.widths.erase(width);
  MemoryEstimate estimate;
  estimate.process = proc_bytes("/proc/self/status", "VmRSS") + kBaseBytes;
  // Of a table that is no head, only the prompt's rows are read.
  estimate.weights = survey.text.weight_bytes - (survey.has_head ? survey.table_bytes : 0);
  const auto tokens = static_cast<int>(prompt.tokens.size());
  const int rows = std::min(tokens, options.prefill_step_size);
  const int end = std::min(tokens + options.max_tokens, limits.context_length);
  const KeptValues kept_values(model.kv_layers(), limits, options, survey.text.is_float32);
  estimate.cache = kept_values.bytes_of_rows(tokens, rows, end);
  estimate.prompt =
      survey.text.scratch_bytes(rows, kArraysOfTextWidths) + int64_t{limits.vocab_size} * 4;
  int64_t states = 0;
  for (const auto& span : prompt.media) {
    const auto values = static_cast<int64_t>(span.pixels.data.size());
    const int64_t patches = values / std::max<int64_t>(1, survey.patch_values);
    // As many as the tower has rows, which fill the picture up and keep what inner layers gave.
    const int64_t seen = model.media_states(span);
    states += seen;
    // Of many tiles, those that go through the tower together, and what it keeps of the others.
    const auto& shape = span.pixels.shape;
    const int64_t tiles = shape.size() == 4 && seen == 0 ? std::max(1, shape[0]) : 1;
    const int64_t of_tile = patches / tiles;
    const auto together =
        std::min<int64_t>(tiles, models::vision::pictures_in_pass(static_cast<int>(of_tile)));
    const int64_t scratch =
        survey.towers.scratch_bytes(std::max(of_tile * together, seen), kArraysOfTowerWidths) +
        (together < tiles ? kArraysOfTiles * patches * survey.tower_width * 4 : 0) +
        survey.connectors.scratch_bytes(std::max<int64_t>(span.count, seen), kArraysOfTowerWidths);
    const int64_t kept = seen * survey.widest_input * 4;
    estimate.vision = std::max(estimate.vision, scratch + kept + values * 4);
  }
  estimate.cache += kept_values.bytes_of_states(states);
  return estimate;
}

std::optional<int64_t> available_memory() {
  const int64_t system = proc_bytes("/proc/meminfo", "MemAvailable");
  const auto room = control_group_room();
  if (system == 0) return room;
  return room ? std::min(system, *room) : system;
}

}  // namespace fovea::generate

// How fast does a decoder answer, and what do several rows together gain? Random 4-bit weights at
// the shapes of real models; a step is what the engine computes for tokens that were generated,
// without sampling. Limits are measured in the same run. Prints one JSON object a line; medians of
// many steps. `decode_bench NAME [DEPTH [ROWS]]` runs one model, behind so many rows of its cache,
// with so many sequences.
#include <algorithm>
#include <cstdio>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "generate/cache/block_cache.h"
#include "kernels/memory.h"
#include "kernels/op.h"
#include "limits.h"
#include "mlx/ops.h"
#include "mlx/random.h"
#include "mlx/transforms.h"
#include "models/text/decoder.h"
#include "nn/linear.h"
#include "stopwatch.h"

namespace {

using namespace fovea;
namespace mx = mlx::core;

constexpr int kDepth = 64;   // rows that a sequence has when the clock starts
constexpr int kChunk = 512;  // rows of a prompt that are computed at once

struct Shape {
  std::string_view name;
  const char* type;
  const char* config;
};

constexpr Shape kShapes[] = {
    {"smolvlm-256m", "llama", R"json({"hidden_size": 576, "intermediate_size": 1536,
      "num_hidden_layers": 30, "num_attention_heads": 9, "num_key_value_heads": 3,
      "vocab_size": 49280, "max_position_embeddings": 8192})json"},
    {"qwen2_vl-2b", "qwen2", R"json({"hidden_size": 1536, "intermediate_size": 8960,
      "num_hidden_layers": 28, "num_attention_heads": 12, "num_key_value_heads": 2,
      "vocab_size": 151936, "max_position_embeddings": 32768})json"},
};

// Fills every parameter; matrices become 4-bit ones around zero.
class RandomWeights : public nn::PathVisitor {
 public:
  void quantizable(nn::QuantizableWeight& weight) override {
    weight.set_quantization({64, 4}, module_name());
  }
  void parameter(const std::string& name, mx::array& value) override {
    if (value.dtype() == mx::uint32) {
      value = mx::random::bits(value.shape());
    } else if (name == "scales" || name == "biases") {
      value = mx::full(value.shape(), name == "scales" ? 0.004f : -0.03f, mx::bfloat16);
    } else {
      value = mx::ones(value.shape(), mx::bfloat16);
    }
    mx::eval(value);
    bytes_ += value.nbytes();
  }
  size_t bytes() const { return bytes_; }

 private:
  size_t bytes_ = 0;
};

// Sequences that grow by a row each at every step.
class Steps {
 public:
  Steps(const models::text::Decoder& decoder, int rows, int depth)
      : decoder_(decoder), rows_(rows), cache_({.layers = decoder.kv_layers()}) {
    for (int i = 0; i < rows; ++i) {
      const int sequence = cache_.add_sequence();
      for (position_ = 0; position_ < depth;) {
        const int count = std::min(kChunk, depth - position_);
        const nn::Segment segment{sequence, 0, count, false};
        run(std::vector<int32_t>(static_cast<size_t>(count), 7), {segment});
        position_ += count;
      }
      segments_.push_back({sequence, i, 1, true});
    }
  }

  void step() {
    run(std::vector<int32_t>(static_cast<size_t>(rows_), 7), segments_);
    ++position_;
  }

 private:
  void run(const std::vector<int32_t>& tokens, const std::vector<nn::Segment>& segments) {
    const int count = static_cast<int>(tokens.size());
    const bool prompt = !segments[0].decode;
    std::optional<kernels::AtOnce> at_once;  // as the engine does
    if (!prompt) at_once.emplace();
    std::vector<int> wanted;
    for (int i = prompt ? count - 1 : 0; i < count; ++i) wanted.push_back(i);
    const auto positions = prompt ? mx::arange(position_, position_ + count, mx::int32)
                                  : mx::full({count}, position_, mx::int32);
    const models::Batch batch{decoder_.embed_tokens(tokens), mx::reshape(positions, {1, count}),
                              segments, wanted};
    const auto logits = decoder_.forward(batch, cache_, {});
    mx::eval({logits, cache_.step_output()});
    cache_.keep_step();
  }

  const models::text::Decoder& decoder_;
  int rows_;
  int position_ = 0;
  generate::BlockCache cache_;
  std::vector<nn::Segment> segments_;
};

void bench_decoder(const bench::Limits& limits, const Shape& shape, int depth,
                   const std::vector<int>& sequences) {
  const auto json = Json::parse(shape.config, std::string(shape.name));
  auto config =
      models::text::read_decoder_config(json, models::text::decoder_type(shape.type, "the bench"));
  config.tie_word_embeddings = true;
  models::text::Decoder decoder(config);
  RandomWeights weights;
  decoder.visit(weights);
  double one = 0;
  for (const int rows : sequences) {
    Steps steps(decoder, rows, depth);
    const double s = bench::median_seconds([&] { steps.step(); });
    if (rows == 1) one = s;
    JsonObject line;
    line.set("name", fmt::format("decode step {} 4 bits rows={} depth={}", shape.name, rows, depth))
        .set("ms", s * 1e3)
        .set("tokens_per_s", rows / s)
        .set("times_one_row", rows * one / s)
        .set("gbytes_per_s", double(weights.bytes()) / s / 1e9)
        .set("share_of_limit", double(weights.bytes()) / s / 1e9 / limits.read_gbytes);
    std::printf("%s\n", line.dump().c_str());
    std::fflush(stdout);
  }
}

}  // namespace

int main(int argc, char** argv) {
  kernels::set_allocator_cache(size_t{1} << 30);
  const bench::Limits limits = bench::measure_limits();
  std::printf("%s\n", limits.json().dump().c_str());
  const int depth = argc > 2 ? std::stoi(argv[2]) : kDepth;
  std::vector<int> rows = {1, 2, 4, 8, 16};
  if (argc > 3) rows = {std::stoi(argv[3])};
  for (const auto& shape : kShapes) {
    if (argc < 2 || shape.name == argv[1]) bench_decoder(limits, shape, depth, rows);
  }
  return 0;
}

// The tiny Llama 3.2 Vision of tests/fixtures, several sequences in one step: with pictures and
// without, prompts and answers.
#include <gtest/gtest.h>

#include "generate/cache/block_cache.h"
#include "mlx/ops.h"
#include "mlx/transforms.h"
#include "models/model.h"
#include "support/expect_error.h"
#include "support/fixtures.h"

namespace fovea::generate {
namespace {

constexpr int32_t kImage = 280;
constexpr int kTile = 12;

std::unique_ptr<models::Model> tiny_model() {
  const auto folder = testing::fixture_path("parity/mllama/checkpoints/hf-bf16");
  return models::load_model(open_checkpoint(folder.string()));
}

MediaSpan picture(int begin, int rows, int columns) {
  MediaSpan span;
  span.begin = begin;
  span.count = 1;
  span.tiles = {rows, columns};
  span.pixels.shape = {rows * columns, 3, kTile, kTile};
  const auto values = static_cast<size_t>(rows * columns * 3 * kTile * kTile);
  for (size_t i = 0; i < values; ++i) {
    span.pixels.data.push_back(static_cast<float>((i + static_cast<size_t>(begin)) % 19) / 9 - 1);
  }
  return span;
}

Prompt prompt_of(std::vector<int32_t> tokens, std::vector<MediaSpan> media) {
  Prompt prompt;
  prompt.tokens = std::move(tokens);
  prompt.media = std::move(media);
  return prompt;
}

const std::vector<Prompt>& prompts() {
  static const std::vector<Prompt> all = {
      prompt_of({1, 2, kImage, 3, 4, kImage, kImage, 5},
                {picture(2, 1, 1), picture(5, 2, 2), picture(6, 1, 3)}),
      prompt_of({9, 8, 7, 6}, {}),
      prompt_of({kImage, 30, 31}, {picture(0, 2, 1)}),
  };
  return all;
}

class MediaStates : public ::testing::Test {
 protected:
  // One step: the prompts of `which`, or one further token for each.
  std::vector<float> step(BlockCache& cache, const std::vector<int>& which,
                          std::map<int, int>& sequences, bool decode = false) {
    std::vector<mx::array> embeds;
    std::vector<mx::array> positions;
    std::vector<nn::Segment> segments;
    std::vector<int> last;
    int rows = 0;
    for (const int i : which) {
      const Prompt& prompt = prompts()[static_cast<size_t>(i)];
      if (!decode) sequences[i] = cache.add_sequence();
      const auto length = static_cast<int>(prompt.tokens.size());
      const int count = decode ? 1 : length;
      const int32_t next = 40 + i;
      embeds.push_back(decode ? model_->embed_tokens({&next, 1})
                              : models::embed_prompt(*model_, prompt, sequences[i], cache, {}));
      positions.push_back(decode ? mx::full({1, 1}, length, mx::int32)
                                 : model_->position_ids(prompt).position_ids_AL);
      segments.push_back({sequences[i], rows, count, decode});
      rows += count;
      last.push_back(rows - 1);
    }
    const models::Batch batch{mx::concatenate(embeds, 0), mx::concatenate(positions, 1), segments,
                              last};
    auto logits = mx::contiguous(model_->forward(batch, cache));
    mx::eval(logits);
    return {logits.data<float>(), logits.data<float>() + logits.size()};
  }

  BlockCache new_cache() const { return BlockCache({.layers = model_->kv_layers()}); }

  std::unique_ptr<models::Model> model_ = tiny_model();
};

TEST_F(MediaStates, ASequencesBitsDoNotDependOnItsCompany) {
  for (const std::vector<int>& company : {std::vector<int>{0, 1, 2}, {1, 0}, {2, 1}, {1}}) {
    auto together = new_cache();
    std::map<int, int> sequences;
    const auto prefilled = step(together, company, sequences);
    const auto decoded = step(together, company, sequences, true);
    const auto size = static_cast<std::ptrdiff_t>(model_->info().vocab_size);
    for (size_t at = 0; at < company.size(); ++at) {
      auto alone = new_cache();
      std::map<int, int> own;
      const auto row = [&](const std::vector<float>& logits) {
        const auto begin = logits.begin() + static_cast<std::ptrdiff_t>(at) * size;
        return std::vector<float>(begin, begin + size);
      };
      EXPECT_EQ(row(prefilled), step(alone, {company[at]}, own)) << company[at];
      EXPECT_EQ(row(decoded), step(alone, {company[at]}, own, true)) << company[at];
    }
  }
}

TEST_F(MediaStates, LeaveWithTheirSequence) {
  auto cache = new_cache();
  std::map<int, int> sequences;
  step(cache, {0, 1}, sequences);
  const auto held = cache.states().size();
  cache.remove_sequence(sequences[0]);
  EXPECT_EQ(held - cache.states().size(), 2u * 2);  // keys and values of two layers
  EXPECT_EQ(cache.states().size(), 0u);
}

TEST_F(MediaStates, WeightsOfKeysAndValuesAreOfMediaAlone) {
  const std::string layer = "language_model.model.layers.1.cross_attn.";
  EXPECT_TRUE(model_->is_media_weight(layer + "k_proj.weight"));
  EXPECT_TRUE(model_->is_media_weight(layer + "v_proj.weight"));
  EXPECT_TRUE(model_->is_media_weight("vision_tower.class_embedding"));
  EXPECT_FALSE(model_->is_media_weight(layer + "q_proj.weight"));
  EXPECT_FALSE(model_->is_media_weight("language_model.model.layers.0.self_attn.k_proj.weight"));
}

TEST_F(MediaStates, RefuseWhatTheTowerDoesNotKnow) {
  auto cache = new_cache();
  const auto embed = [&](MediaSpan span, int32_t token) {
    return models::embed_prompt(*model_, prompt_of({token, 3}, {std::move(span)}),
                                cache.add_sequence(), cache, {});
  };
  EXPECT_ERROR(embed(picture(0, 3, 2), kImage), ErrorKind::kInvalidData, "but got 3x2");
  auto small = picture(0, 1, 2);
  small.pixels.shape[0] = 1;
  EXPECT_ERROR(embed(small, kImage), ErrorKind::kInvalidData, "expected pixels");
  // Eight rows of the table stand behind the vocabulary.
  EXPECT_NO_THROW(embed(picture(0, 1, 1), kImage + 7));
  EXPECT_ERROR(embed(picture(0, 1, 1), kImage + 8), ErrorKind::kInvalidData,
               "token ids below 288 but got 288");
}

}  // namespace
}  // namespace fovea::generate

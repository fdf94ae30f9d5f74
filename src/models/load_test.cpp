// Whole checkpoints of tests/fixtures with their config.json or their names changed.
#include <gtest/gtest.h>

#include <cstring>

#include "mlx/io.h"
#include "mlx/ops.h"
#include "mlx/transforms.h"
#include "models/config.h"
#include "models/model.h"
#include "models/names.h"
#include "nn/safetensors.h"
#include "support/expect_error.h"
#include "support/fixtures.h"
#include "support/temporary_folder.h"

namespace fovea::models {
namespace {

Checkpoint fixture(const std::string& name) {
  return open_checkpoint(testing::fixture_path("parity/" + name).string());
}
Checkpoint clip() { return fixture("llava/checkpoints/clip-llama-hf-f32"); }
Checkpoint siglip() { return fixture("llava/checkpoints/siglip-qwen2-mlx-f32"); }
Checkpoint qwen() { return fixture("qwen2_vl/checkpoints/hf-f32"); }

// `object` with the JSON `value` at `key`.
Json with(const Json& object, const std::string& key, const std::string& value) {
  JsonObject changed;
  for (const auto& name : object.keys()) changed.set(name, object[name]);
  changed.set(key, Json::parse(value, key));
  return Json::parse(changed.dump(), "config.json");
}

Json with_text(const Json& config, const std::string& key, const std::string& value) {
  return with(config, "text_config", with(config["text_config"], key, value).dump());
}

Prompt prompt_of(int length, std::vector<MediaSpan> media) {
  Prompt prompt;
  prompt.tokens.assign(static_cast<size_t>(length), 5);
  prompt.media = std::move(media);
  return prompt;
}

std::vector<int> ints_of(const mx::array& a) {
  mx::array flat = mx::contiguous(a);
  mx::eval(flat);
  return {flat.data<int>(), flat.data<int>() + flat.size()};
}

TEST(Load, LooksForAHeadWhereTheConfigDoesNotSay) {
  auto untied = clip();
  untied.config = with(untied.config, "tie_word_embeddings", "null");
  EXPECT_NE(load_model(untied), nullptr);  // its lm_head has a place
  auto tied = siglip();
  tied.config =
      with_text(with(tied.config, "tie_word_embeddings", "null"), "tie_word_embeddings", "null");
  EXPECT_NE(load_model(tied), nullptr);
  tied.config = with(tied.config, "tie_word_embeddings", "false");
  EXPECT_ERROR(load_model(tied), ErrorKind::kInvalidData, "'language_model.lm_head.weight'");
}

// A checkpoint of one file with the tensors of `file` and more, each a copy of one of them with its
// first byte changed or not.
struct Copy {
  std::string name;
  std::string of;
  bool changed;
};
std::string with_copies(const std::string& file, const std::vector<Copy>& copies) {
  uint64_t length = 0;
  std::memcpy(&length, file.data(), sizeof length);
  const Json header = Json::parse(file.substr(sizeof length, length), "header");
  const std::string data = file.substr(sizeof length + length);
  JsonObject all;
  for (const auto& name : header.keys()) all.set(name, header[name]);
  std::string more = data;
  for (const auto& [name, of, changed] : copies) {
    const Json entry = header[of];
    const auto from = static_cast<size_t>(entry["data_offsets"].at(0).as_int());
    const auto to = static_cast<size_t>(entry["data_offsets"].at(1).as_int());
    std::string bytes = data.substr(from, to - from);
    if (changed) bytes[0] = static_cast<char>(bytes[0] ^ 1);
    JsonArray offsets;
    offsets.push(static_cast<int64_t>(more.size()))
        .push(static_cast<int64_t>(more.size() + bytes.size()));
    JsonObject copy;
    copy.set("dtype", entry["dtype"]).set("shape", entry["shape"]).set("data_offsets", offsets);
    all.set(name, copy);
    more += bytes;
  }
  std::string text = all.dump();
  text.resize((text.size() + 7) / 8 * 8, ' ');
  const uint64_t size = text.size();
  return std::string(reinterpret_cast<const char*>(&size), sizeof size) + text + more;
}

bool has_parameter(Model& model, const std::string& wanted) {
  struct Finder : nn::PathVisitor {
    std::string wanted;
    bool found = false;
    void parameter(const std::string& name, mx::array&) override {
      found = found || full_name(name) == wanted;
    }
  } finder;
  finder.wanted = wanted;
  model.visit(finder);
  return finder.found;
}

// As Hugging Face: transformers 5 says "tied" of checkpoints that carry a head of their own.
TEST(Load, KeepsAHeadOfItsOwnWhereTheConfigSaysTied) {
  const testing::TemporaryFolder folder;
  auto checkpoint = siglip();
  const std::string file = read_file(checkpoint.folder / "model.safetensors");
  checkpoint.folder = folder.path();
  EXPECT_EQ(tie_word_embeddings(checkpoint.config), true);
  const std::string head = "language_model.lm_head.weight";
  const std::string table = "language_model.model.embed_tokens.weight";
  for (const bool changed : {true, false}) {
    folder.write("model.safetensors", with_copies(file, {{head, table, changed}}));
    const auto model = load_model(checkpoint);
    EXPECT_EQ(has_parameter(*model, head), changed);
  }
  folder.write("model.safetensors", file);
  EXPECT_FALSE(has_parameter(*load_model(checkpoint), head));
}

TEST(Load, AnAbsentVisionConfigMeansClipLarge) {
  auto checkpoint = clip();
  checkpoint.config = with(checkpoint.config, "vision_config", "null");
  EXPECT_ERROR(load_model(checkpoint), ErrorKind::kInvalidData,
               "class_embedding' as floating-point [1024]");
}

TEST(Load, AProjectorMayHaveNoBiases) {
  auto checkpoint = clip();
  checkpoint.config = with(checkpoint.config, "multimodal_projector_bias", "false");
  EXPECT_ERROR(load_model(checkpoint), ErrorKind::kInvalidData,
               "expected no tensor 'multi_modal_projector.linear_1.bias'");
}

// transformers 5 writes the tower without `vision_model.` between.
TEST(Load, ReadsTowersAsNewerTransformersNamesThem) {
  const testing::TemporaryFolder folder;
  auto checkpoint = clip();
  std::string file = read_file(checkpoint.folder / "model.safetensors");
  uint64_t length = 0;
  std::memcpy(&length, file.data(), sizeof length);
  std::string header = file.substr(sizeof length, length);
  const std::string old = "vision_tower.vision_model.";
  for (size_t at = header.find(old); at != std::string::npos; at = header.find(old, at)) {
    header.replace(at, old.size(), "model.vision_tower.");
  }
  header.resize(length, ' ');
  folder.write("model.safetensors", file.replace(sizeof length, length, header));
  checkpoint.folder = folder.path();
  EXPECT_NE(load_model(checkpoint), nullptr);
}

// Llama 3.2 Vision as transformers 5 would write it again.
TEST(Load, ReadsMllamaAsNewerTransformersNamesIt) {
  const testing::TemporaryFolder folder;
  auto checkpoint = fixture("mllama/checkpoints/hf-bf16");
  std::unordered_map<std::string, mx::array> renamed;
  for (const auto& [name, value] : nn::map_safetensors(checkpoint.folder / "model.safetensors")) {
    renamed.insert_or_assign(
        replace_prefix(name, {{"language_model.model.", "model.language_model."},
                              {"language_model.lm_head.", "lm_head."},
                              {"vision_model.", "model.vision_model."},
                              {"multi_modal_projector.", "model.multi_modal_projector."}}),
        value);
  }
  mx::save_safetensors((folder.path() / "model.safetensors").string(), renamed);
  checkpoint.folder = folder.path();
  EXPECT_NE(load_model(checkpoint), nullptr);
}

TEST(Positions, OfALlavaWithSectionsAreOnEveryAxis) {
  auto checkpoint = clip();
  checkpoint.config = with_text(checkpoint.config, "rope_scaling",
                                R"({"type": "mrope", "mrope_section": [2, 3, 3]})");
  const auto model = load_model(checkpoint);
  const auto positions = model->position_ids(prompt_of(3, {}));
  EXPECT_EQ(ints_of(positions.position_ids_AL), std::vector<int>({0, 1, 2, 0, 1, 2, 0, 1, 2}));
  EXPECT_EQ(model->info().position_axes, 3);
}

MediaSpan picture(int begin, int h, int w) {
  MediaSpan span;
  span.begin = begin;
  span.grid_thw = {1, h, w};
  span.count = h / 2 * (w / 2);
  return span;
}

TEST(Positions, OfQwen2VlPicturesCountRowsAndColumns) {
  const auto model = load_model(qwen());
  // Two tokens, a picture of 2 x 3 merged patches, one token, a picture of 1 x 1, one token.
  const auto positions = model->position_ids(prompt_of(11, {picture(2, 4, 6), picture(9, 2, 2)}));
  EXPECT_EQ(ints_of(positions.position_ids_AL),
            std::vector<int>({0, 1, 2, 2, 2, 2, 2, 2, 5, 6, 7,  //
                              0, 1, 2, 2, 2, 3, 3, 3, 5, 6, 7,  //
                              0, 1, 2, 3, 4, 2, 3, 4, 5, 6, 7}));
  EXPECT_EQ(positions.delta, 8 - 11);
}

TEST(Positions, OfTextAreConsecutive) {
  const auto positions = load_model(qwen())->position_ids(prompt_of(2, {}));
  EXPECT_EQ(ints_of(positions.position_ids_AL), std::vector<int>({0, 1, 0, 1, 0, 1}));
  EXPECT_EQ(positions.delta, 0);
}

// Of a config that does not say which layer is taken: LLaVA's takes the last but one, mlx-vlm's own
// type the last.
TEST(Load, TakesThePixtralLayerThatTheTypeMeans) {
  auto checkpoint = fixture("pixtral/checkpoints/hf-bf16");
  const Json released = checkpoint.config;
  const int patch = released["vision_config"]["patch_size"].as_int32();
  MediaSpan span;
  span.count = 4;
  span.grid_thw = {1, 2, 2};
  span.pixels.shape = {4, 3 * patch * patch};
  for (int i = 0; i < 4 * 3 * patch * patch; ++i) {
    span.pixels.data.push_back(static_cast<float>(i % 7) / 7);
  }
  const auto features = [&](const std::string& type, const std::string& layer) {
    checkpoint.config = with(with(released, "model_type", type), "vision_feature_layer", layer);
    auto out = load_model(checkpoint)->encode_media(span);
    mx::eval(out);
    return out;
  };
  const auto same = [](const mx::array& a, const mx::array& b) {
    return mx::array_equal(a, b).item<bool>();
  };
  const auto last = features("\"llava\"", "-1");
  const auto before = features("\"llava\"", "-2");
  ASSERT_FALSE(same(last, before));
  EXPECT_TRUE(same(features("\"llava\"", "null"), before));
  EXPECT_TRUE(same(features("\"pixtral\"", "null"), last));
}

TEST(WeightMemory, TellsWhatOnlyMediaNeed) {
  const auto bytes_of = [](const auto& weights) {
    size_t total = 0;
    for (const auto& weight : weights) total += weight.size();
    return total;
  };
  for (const auto& checkpoint : {clip(), siglip(), qwen()}) {
    const auto model = load_model(checkpoint);
    const auto memory = weight_memory(*model);
    EXPECT_GT(bytes_of(memory.media), 0u);
    EXPECT_GT(bytes_of(memory.text), 0u);
    EXPECT_TRUE(model->is_media_weight("vision_tower.patch_embed.proj.weight"));
    EXPECT_FALSE(model->is_media_weight("language_model.model.embed_tokens.weight"));
  }
  auto text = siglip();
  text.config = with(text.config["text_config"], "model_type", "\"qwen2\"");
  EXPECT_FALSE(build_model(text)->is_media_weight("model.embed_tokens.weight"));
}

// phi3_v's decoder has no path of its own.
TEST(WeightMemory, TellsATowerBelowTheDecodersPath) {
  const auto model = load_model(fixture("phi3_v/checkpoints/hf-bf16"));
  const auto memory = weight_memory(*model);
  EXPECT_FALSE(memory.media.empty());
  EXPECT_TRUE(model->is_media_weight("model.vision_embed_tokens.glb_GN"));
  EXPECT_FALSE(model->is_media_weight("model.embed_tokens.weight"));
  EXPECT_FALSE(model->is_media_weight("lm_head.weight"));
}

}  // namespace
}  // namespace fovea::models

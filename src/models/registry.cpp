#include <algorithm>
#include <array>

#include "base/error.h"
#include "kernels/int8_rows.h"
#include "kernels/isa/isa.h"
#include "models/families.h"
#include "models/model.h"
#include "nn/linear.h"
#include "nn/weights.h"

namespace fovea::models {
namespace {

struct Row {
  const char* model_type;
  text::DecoderConfig (*decoder_config)(const Checkpoint&);
  std::unique_ptr<Model> (*make)(const Checkpoint&);
  const char* parts = "";
  const char* media = "pictures";
  bool recogniser = false;
};

// The others are given a video's frames as pictures.
constexpr const char* kVideos = "pictures, videos";

// One row a family, sorted by name.
constexpr std::array kFamilies = {
    Row{"bunny-llama", bunny_llama_decoder_config, make_bunny_llama, "SigLIP; MLP; llama"},
    Row{"gemma3", gemma3_decoder_config, make_gemma3, "SigLIP; average pool, linear; gemma3"},
    Row{"idefics3", idefics3_decoder_config, make_idefics3, "SigLIP; pixel shuffle, linear; llama"},
    Row{"internvl_chat", internvl_chat_decoder_config, make_internvl_chat,
        "InternViT on tiles; 2x2 merger, norm and MLP; qwen2, qwen3 or llama"},
    Row{"llama", text_only_decoder_config, make_text_only, "llama", "none"},
    Row{"llava", llava_decoder_config, make_llava, "CLIP or SigLIP; MLP; llama, mistral or qwen2"},
    Row{"llava-qwen2", llava_qwen2_decoder_config, make_llava_qwen2, "SigLIP; MLP; qwen2"},
    Row{"llava_next", llava_decoder_config, make_llava_next,
        "CLIP or SigLIP on tiles; MLP; llama, mistral or qwen2"},
    Row{"mistral", text_only_decoder_config, make_text_only, "mistral", "none"},
    Row{"mistral3", llava_decoder_config, make_mistral3,
        "Pixtral; 2x2 merger and MLP; mistral or ministral3"},
    Row{"mllama", mllama_decoder_config, make_mllama,
        "gated ViT on tiles; linear; llama with cross-attention to the tiles"},
    Row{"paligemma", paligemma_decoder_config, make_paligemma,
        "SigLIP; linear; gemma or gemma2 with a prefix that sees itself"},
    Row{"phi3_v", phi3_v_decoder_config, make_phi3_v, "CLIP on tiles; MLP; phi3 with longrope"},
    Row{"pixtral", llava_decoder_config, make_pixtral, "Pixtral; MLP; mistral"},
    Row{"qwen2", text_only_decoder_config, make_text_only, "qwen2", "none"},
    Row{"qwen2_5_vl", qwen2_5_vl_decoder_config, make_qwen2_5_vl,
        "2-D rotary ViT in windows; 2x2 merger MLP; qwen2 with M-RoPE", kVideos},
    Row{"qwen2_vl", qwen2_vl_decoder_config, make_qwen2_vl,
        "2-D rotary ViT; 2x2 merger MLP; qwen2 with M-RoPE", kVideos},
    Row{"qwen3_vl", qwen3_vl_decoder_config, make_qwen3_vl,
        "2-D rotary ViT; 2x2 mergers, deepstack; qwen3 with M-RoPE", kVideos},
    Row{"qwen3_vl_moe", qwen3_vl_moe_decoder_config, make_qwen3_vl_moe,
        "2-D rotary ViT; 2x2 mergers, deepstack; qwen3 with experts and M-RoPE", kVideos},
    Row{"smolvlm", idefics3_decoder_config, make_idefics3, "SigLIP; pixel shuffle, linear; llama",
        kVideos},
    Row{"whisper", whisper_decoder_config, make_whisper,
        "convolutions, transformer; decoder with cross-attention to its states",
        "sound, with fovea transcribe", true},
};

const Row& row_of(const Checkpoint& checkpoint) {
  const std::string type = checkpoint.model_type();
  for (const auto& row : kFamilies) {
    if (type == row.model_type) return row;
  }
  fail(ErrorKind::kUnsupported, "[config.json] expected a model_type among {} but got '{}'",
       fmt::join(supported_model_types(), ", "), type);
}

struct Int8Keeper : nn::PathVisitor {
  size_t bytes = 0;
  void parameter(const std::string&, mx::array&) override {}
  void quantizable(nn::QuantizableWeight& weight) override { bytes += weight.keep_int8_rows(); }
};

}  // namespace

std::vector<std::string> supported_model_types() {
  std::vector<std::string> types;
  for (const auto& row : kFamilies) types.emplace_back(row.model_type);
  return types;
}

std::vector<FamilyCard> supported_families() {
  std::vector<FamilyCard> cards;
  for (const auto& row : kFamilies) {
    cards.push_back({row.model_type, row.parts, row.media});
  }
  return cards;
}

std::unique_ptr<Model> build_model(const Checkpoint& checkpoint) {
  return row_of(checkpoint).make(checkpoint);
}

std::unique_ptr<Model> load_model(const Checkpoint& checkpoint) {
  return load_model(checkpoint, nn::Turned::kCopied);
}

std::unique_ptr<Model> load_model(const Checkpoint& checkpoint, nn::Turned turned) {
  auto model = build_model(checkpoint);
  auto weights = nn::Weights::open(checkpoint, turned);
  model->prepare_weights(weights);
  weights.load_into(*model);
  return model;
}

size_t prepare_prefill(Model& model, Prefill prefill) {
  if (prefill == Prefill::kBfloat16) return 0;
  if (!kernels::multiplies_int8_rows()) {
    fail(ErrorKind::kUnsupported,
         "[prefill] expected a processor with AVX-512 VNNI for int8 but got {}",
         kernels::isa::table().name);
  }
  Int8Keeper keeper;
  model.visit_layers(keeper);
  return keeper.bytes;
}

void require_supported(const Checkpoint& checkpoint) {
  if (!row_of(checkpoint).recogniser) return;
  fail(ErrorKind::kInvalidArgument,
       "[config.json] expected a model that answers prompts but '{}' turns speech into text, with "
       "fovea transcribe",
       checkpoint.model_type());
}

bool is_recogniser(const Checkpoint& checkpoint) { return row_of(checkpoint).recogniser; }

TextLimits read_text_limits(const Checkpoint& checkpoint) {
  const auto config = row_of(checkpoint).decoder_config(checkpoint);
  const auto& attention = config.attention;
  return {config.max_position_embeddings, config.vocab_size,
          config.cross_layers() * attention.num_key_value_heads * attention.head_dim,
          attention.head_dim};
}

}  // namespace fovea::models

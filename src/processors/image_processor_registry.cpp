#include <array>
#include <string_view>

#include "base/error.h"
#include "processors/image_processors.h"

namespace fovea::processors {
namespace {

struct Row {
  std::string_view image_processor_type;
  std::unique_ptr<ImageProcessor> (*make)(const Json&, const Checkpoint&);
};

constexpr std::array kImageProcessors = {
    Row{"BunnyImageProcessor", make_bunny_image_processor},
    Row{"CLIPImageProcessor", make_clip_image_processor},
    Row{"Gemma3ImageProcessor", make_gemma3_image_processor},
    Row{"Idefics3ImageProcessor", make_idefics3_image_processor},
    Row{"InternVLImageProcessor", make_internvl_image_processor},
    Row{"LlavaNextImageProcessor", make_llava_next_image_processor},
    Row{"MllamaImageProcessor", make_mllama_image_processor},
    Row{"Phi3VImageProcessor", make_phi3_v_image_processor},
    Row{"PixtralImageProcessor", make_pixtral_image_processor},
    Row{"Qwen2VLImageProcessor", make_qwen2_vl_image_processor},
    Row{"Qwen2_5_VLImageProcessor", make_qwen2_vl_image_processor},
    Row{"Qwen3VLImageProcessor", make_qwen2_vl_image_processor},  // mlx-vlm writes it
    Row{"SiglipImageProcessor", make_siglip_image_processor},
    Row{"SmolVLMImageProcessor", make_idefics3_image_processor},
};

// Families whose pictures are handled by code beside the model, whatever preprocessor_config.json
// says; it may be missing.
struct OwnRow {
  std::string_view model_type;
  std::string_view image_processor_type;
};

constexpr std::array kOwnProcessors = {
    OwnRow{"bunny-llama", "BunnyImageProcessor"},
    OwnRow{"llava-qwen2", "BunnyImageProcessor"},
    OwnRow{"internvl_chat", "InternVLImageProcessor"},
};

std::string_view own_processor(const Checkpoint& checkpoint) {
  for (const auto& row : kOwnProcessors) {
    if (checkpoint.config["model_type"].is_string() && checkpoint.model_type() == row.model_type) {
      return row.image_processor_type;
    }
  }
  return {};
}

// Older checkpoints say feature_extractor_type, newer ones end in "Fast".
std::string type_of(const Json& config) {
  std::string type = config.get_string("image_processor_type", "");
  if (type.empty()) type = config.get_string("feature_extractor_type", "");
  if (type == "CLIPFeatureExtractor") return "CLIPImageProcessor";
  if (type.ends_with("Fast")) type.resize(type.size() - 4);
  return type;
}

}  // namespace

std::unique_ptr<ImageProcessor> load_image_processor(const Checkpoint& checkpoint) {
  // Newer checkpoints have the settings in processor_config.json, and an older file may stay
  // beside.
  Json config = checkpoint.read_json("processor_config.json")["image_processor"];
  if (config.is_null()) config = checkpoint.read_json("preprocessor_config.json");
  const auto own = own_processor(checkpoint);
  if (config.is_null() && !own.empty()) config = Json::parse("{}", "preprocessor_config.json");
  if (config.is_null()) {
    fail(ErrorKind::kNotFound,
         "[preprocessor_config.json] expected this file in '{}' but there is none",
         checkpoint.name);
  }
  const std::string type = own.empty() ? type_of(config) : std::string(own);
  std::string known;
  for (const auto& row : kImageProcessors) {
    if (type == row.image_processor_type) return row.make(config, checkpoint);
    known += (known.empty() ? "" : ", ") + std::string(row.image_processor_type);
  }
  fail(ErrorKind::kUnsupported,
       "[preprocessor_config.json] expected image_processor_type among {} but got '{}'", known,
       type);
}

}  // namespace fovea::processors

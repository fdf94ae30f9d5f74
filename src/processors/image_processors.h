// The factories of all image processors; image_processor_registry.cpp has the table. `config` is
// preprocessor_config.json.
#pragma once

#include <memory>

#include "processors/image_processor.h"

namespace fovea::processors {

std::unique_ptr<ImageProcessor> make_bunny_image_processor(const Json& config,
                                                           const Checkpoint& checkpoint);
std::unique_ptr<ImageProcessor> make_clip_image_processor(const Json& config,
                                                          const Checkpoint& checkpoint);
std::unique_ptr<ImageProcessor> make_gemma3_image_processor(const Json& config,
                                                            const Checkpoint& checkpoint);
std::unique_ptr<ImageProcessor> make_idefics3_image_processor(const Json& config,
                                                              const Checkpoint& checkpoint);
std::unique_ptr<ImageProcessor> make_internvl_image_processor(const Json& config,
                                                              const Checkpoint& checkpoint);
std::unique_ptr<ImageProcessor> make_llava_next_image_processor(const Json& config,
                                                                const Checkpoint& checkpoint);
std::unique_ptr<ImageProcessor> make_mllama_image_processor(const Json& config,
                                                            const Checkpoint& checkpoint);
std::unique_ptr<ImageProcessor> make_phi3_v_image_processor(const Json& config,
                                                            const Checkpoint& checkpoint);
std::unique_ptr<ImageProcessor> make_pixtral_image_processor(const Json& config,
                                                             const Checkpoint& checkpoint);
std::unique_ptr<ImageProcessor> make_qwen2_vl_image_processor(const Json& config,
                                                              const Checkpoint& checkpoint);
std::unique_ptr<ImageProcessor> make_siglip_image_processor(const Json& config,
                                                            const Checkpoint& checkpoint);

}  // namespace fovea::processors

// What registry.cpp lists of each family: how the settings of its decoder are read, and what builds
// it, as build_model() promises.
#pragma once

#include <memory>

#include "models/model.h"
#include "models/text/decoder.h"

namespace fovea::models {

text::DecoderConfig bunny_llama_decoder_config(const Checkpoint& checkpoint);
std::unique_ptr<Model> make_bunny_llama(const Checkpoint& checkpoint);

text::DecoderConfig gemma3_decoder_config(const Checkpoint& checkpoint);
std::unique_ptr<Model> make_gemma3(const Checkpoint& checkpoint);

text::DecoderConfig idefics3_decoder_config(const Checkpoint& checkpoint);
std::unique_ptr<Model> make_idefics3(const Checkpoint& checkpoint);

text::DecoderConfig internvl_chat_decoder_config(const Checkpoint& checkpoint);
std::unique_ptr<Model> make_internvl_chat(const Checkpoint& checkpoint);

text::DecoderConfig llava_decoder_config(const Checkpoint& checkpoint);
std::unique_ptr<Model> make_llava(const Checkpoint& checkpoint);
std::unique_ptr<Model> make_llava_next(const Checkpoint& checkpoint);

text::DecoderConfig llava_qwen2_decoder_config(const Checkpoint& checkpoint);
std::unique_ptr<Model> make_llava_qwen2(const Checkpoint& checkpoint);

std::unique_ptr<Model> make_mistral3(const Checkpoint& checkpoint);

text::DecoderConfig mllama_decoder_config(const Checkpoint& checkpoint);
std::unique_ptr<Model> make_mllama(const Checkpoint& checkpoint);

text::DecoderConfig paligemma_decoder_config(const Checkpoint& checkpoint);
std::unique_ptr<Model> make_paligemma(const Checkpoint& checkpoint);

text::DecoderConfig phi3_v_decoder_config(const Checkpoint& checkpoint);
std::unique_ptr<Model> make_phi3_v(const Checkpoint& checkpoint);

std::unique_ptr<Model> make_pixtral(const Checkpoint& checkpoint);

text::DecoderConfig qwen2_5_vl_decoder_config(const Checkpoint& checkpoint);
std::unique_ptr<Model> make_qwen2_5_vl(const Checkpoint& checkpoint);

text::DecoderConfig qwen2_vl_decoder_config(const Checkpoint& checkpoint);
std::unique_ptr<Model> make_qwen2_vl(const Checkpoint& checkpoint);

text::DecoderConfig qwen3_vl_decoder_config(const Checkpoint& checkpoint);
std::unique_ptr<Model> make_qwen3_vl(const Checkpoint& checkpoint);

text::DecoderConfig qwen3_vl_moe_decoder_config(const Checkpoint& checkpoint);
std::unique_ptr<Model> make_qwen3_vl_moe(const Checkpoint& checkpoint);

text::DecoderConfig text_only_decoder_config(const Checkpoint& checkpoint);
std::unique_ptr<Model> make_text_only(const Checkpoint& checkpoint);

text::DecoderConfig whisper_decoder_config(const Checkpoint& checkpoint);
std::unique_ptr<Model> make_whisper(const Checkpoint& checkpoint);

}  // namespace fovea::models

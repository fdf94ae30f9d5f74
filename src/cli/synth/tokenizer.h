// A tokenizer with a real vocabulary's size and special ids, and made-up words in between: the 256
// bytes, then " a", " b", ... " aa", ... in the order of counting. A word of the vocabulary is one
// token, any other text its bytes, so the length of a prompt is easy to choose.
#pragma once

#include <string>

#include "base/json.h"

namespace fovea::cli {

// `vocabulary` has `text`, the number of tokens that are text (at least 256), the lists `first` and
// `last` of special tokens before and after them (a number stands for so many that are reserved),
// the texts of bos_token (put before every prompt), eos_token, pad_token and unk_token where there
// are any, and chat_template, a list of pieces.
std::string synth_tokenizer_json(const Json& vocabulary);
std::string synth_tokenizer_config_json(const Json& vocabulary);

}  // namespace fovea::cli

// The special tokens of a Whisper checkpoint, by its tokenizer and generation_config.json.
// Immutable; any thread may read.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "core/checkpoint.h"
#include "processors/tokenizer.h"

namespace fovea::generate {

struct WhisperTokens {
  int32_t end_of_text = 0;  // the first of the special ones
  int32_t start = 0;        // <|startoftranscript|>
  int32_t previous = 0;     // <|startofprev|>
  int32_t no_timestamps = 0;
  int32_t timestamps = 0;  // <|0.00|>; each further one is 20 ms later
  std::optional<int32_t> no_speech;
  std::optional<int32_t> transcribe;
  std::optional<int32_t> translate;
  std::map<std::string, int32_t> languages;  // by code; empty for models of English alone
  std::vector<int32_t> suppressed;           // never written
  std::vector<int32_t> suppressed_first;     // not as the first token
};

// Throws Error(kInvalidData) naming the token for a tokenizer that is not Whisper's. A tokenizer
// may know more tokens than the model: ids from `vocab_size` on are left out, as if it had none.
WhisperTokens whisper_tokens(const Checkpoint& checkpoint, const processors::Tokenizer& tokenizer,
                             int vocab_size);

// The text that a transcript is to go on from. Throws Error(kInvalidData) for a token that the
// model does not have.
std::vector<int32_t> prompt_tokens(const std::string& text, const processors::Tokenizer& tokenizer,
                                   int vocab_size);

}  // namespace fovea::generate

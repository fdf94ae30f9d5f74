// The checkpoint's tokenizer.json, run by the library its makers test against. Immutable; any
// thread may call.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/checkpoint.h"

namespace fovea::processors {

class Tokenizer {
 public:
  static std::shared_ptr<Tokenizer> load(const Checkpoint& checkpoint);
  virtual ~Tokenizer() = default;

  virtual std::vector<int32_t> encode(std::string_view text, bool add_special_tokens) const = 0;
  virtual std::string decode(std::span<const int32_t> ids, bool skip_special_tokens) const = 0;
  virtual std::optional<int32_t> token_to_id(std::string_view token) const = 0;
  virtual std::string id_to_token(int32_t id) const = 0;  // empty when there is none
  virtual bool is_special(int32_t id) const = 0;
  virtual int vocab_size() const = 0;                      // added tokens included
  virtual std::vector<int32_t> eos_token_ids() const = 0;  // of tokenizer_config.json
};

// The text of a special token in tokenizer_config.json: a string, or an object with `content`;
// empty when there is none.
std::string special_token_text(const Json& value);

// Turns one sequence's ids into text as they come: whole characters only, and the concatenation of
// all pieces equals decode() of all ids. One per request, one thread at a time.
class StreamDecoder {
 public:
  virtual ~StreamDecoder() = default;
  virtual std::string add(int32_t id) = 0;
  virtual std::string finish() = 0;  // what was held back; incomplete bytes become U+FFFD
};

std::unique_ptr<StreamDecoder> make_stream_decoder(std::shared_ptr<const Tokenizer> tokenizer,
                                                   bool skip_special_tokens);

}  // namespace fovea::processors

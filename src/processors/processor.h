// Everything between a conversation and a model: chat template, tokenizer, image processor and
// placeholder rules of one checkpoint. Immutable; any thread may call.
#pragma once

#include <memory>
#include <string>

#include "core/checkpoint.h"
#include "core/message.h"
#include "core/prompt.h"
#include "processors/tokenizer.h"

namespace fovea::processors {

class Processor {
 public:
  virtual ~Processor() = default;

  // Renders the conversation with the family's image rules, decodes and processes the pictures,
  // tokenises, and expands placeholders. Throws fovea::Error for bad pictures, a template that
  // refuses the messages, or pictures given to a text model.
  virtual Prompt process(const ChatRequest& request) const = 0;

  // Renders a raw template context (`messages`, `tools`, ... as in `fovea prompt`): an object.
  // `template_text` overrides the checkpoint's template when not empty.
  virtual std::string render(const Json& context, const std::string& template_text) const = 0;

  virtual const Tokenizer& tokenizer() const = 0;
};

std::unique_ptr<Processor> load_processor(const Checkpoint& checkpoint);

}  // namespace fovea::processors

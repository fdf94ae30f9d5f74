// The recogniser that is there without a model of one's own: PocketSphinx with Debian's English
// model. Its libraries are loaded when it is made, so that nothing else waits for them.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/sound.h"
#include "core/transcript.h"

namespace fovea::speech {

// What may be said: a grammar in JSGF, or commands, a line each. Neither: free dictation.
struct SphinxSettings {
  std::optional<std::string> jsgf;
  std::vector<std::string> commands;
  std::string model_folder = "/usr/share/pocketsphinx/model/en-us";
};

// The settings of a grammar file's text: JSGF begins with "#JSGF", anything else is commands.
// Throws Error(kInvalidData) where it names nothing.
SphinxSettings read_grammar(const std::string& text, const std::string& name);

class Sphinx {
 public:
  virtual ~Sphinx() = default;
  // Of sound at 16000 samples a second: a segment between pauses, with its words. `stop` is asked
  // while it listens and may be empty. For one thread at a time.
  virtual Transcript transcribe(const Sound& sound, const std::function<bool()>& stop) = 0;
};

// Throws Error(kUnsupported) naming the package that is not installed, Error(kInvalidData) for a
// grammar or a word that it does not know.
std::unique_ptr<Sphinx> open_sphinx(const SphinxSettings& settings = {});

}  // namespace fovea::speech

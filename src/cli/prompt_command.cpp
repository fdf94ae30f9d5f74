#include <CLI/CLI.hpp>
#include <cstdio>

#include "base/error.h"
#include "base/file.h"
#include "cli/commands.h"
#include "cli/embedded_model.h"
#include "processors/processor.h"

namespace fovea::cli {
namespace {

struct Flags {
  std::string model;
  std::string messages;
  std::string template_file;
  bool tokens = false;
};

Json read_context(const std::string& file) {
  const std::string text = file == "-" ? read_standard_input() : read_file(file);
  const Json given = Json::parse(text, file);
  if (!given.is_object() || !given["messages"].is_array()) {
    fail(ErrorKind::kInvalidData, "[{}] expected an object with a list 'messages'", file);
  }
  JsonObject context;
  context.set("add_generation_prompt", true);
  for (const auto& key : given.keys()) context.set(key, given[key]);
  return context.freeze(file);
}

void print_prompt(const Flags& flags) {
  const Json context = read_context(flags.messages);
  const Checkpoint checkpoint =
      open_checkpoint(flags.model.empty() ? embedded_model() : flags.model);
  auto chat_template = processors::ChatTemplate::load(checkpoint);
  if (!flags.template_file.empty()) {
    chat_template = chat_template.with_source(read_file(flags.template_file));
  }
  const std::string text = chat_template.render(context);
  if (!flags.tokens) {
    std::fwrite(text.data(), 1, text.size(), stdout);
    return;
  }
  const auto ids =
      processors::tokenize(*processors::Tokenizer::load(checkpoint), chat_template, text);
  std::printf("%s\n", fmt::format("{}", ids).c_str());
}

}  // namespace

void add_prompt_command(CLI::App& program) {
  auto* command = program.add_subcommand("prompt", "Print the prompt that a model would be given");
  auto flags = std::make_shared<Flags>();
  command
      ->add_option("--messages", flags->messages,
                   "JSON file (- is standard input): an object with `messages`, optionally `tools` "
                   "and add_generation_prompt; other keys go to the template")
      ->required();
  command->add_option(
      "--model", flags->model,
      "Checkpoint folder, or org/name in the Hugging Face cache [the embedded model]");
  command->add_option("--template", flags->template_file, "Jinja file instead of the checkpoint's");
  command->add_flag("--tokens", flags->tokens, "Print token ids, a JSON list");
  command->callback([flags] { print_prompt(*flags); });
}

}  // namespace fovea::cli

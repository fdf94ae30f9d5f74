#include <CLI/CLI.hpp>
#include <cstdio>
#include <optional>

#include "base/error.h"
#include "base/file.h"
#include "cli/commands.h"
#include "cli/embedded_model.h"
#include "cli/flag.h"
#include "processors/processor.h"

namespace fovea::cli {
namespace {

struct Flags {
  std::optional<std::string> model;
  std::optional<std::string> messages;
  std::optional<std::string> template_file;
  bool tokens = false;
};

Json read_context(const std::string& file) {
  const std::string text = file == "-" ? read_standard_input() : read_file(file);
  const Json given = Json::parse(text, file);
  given.as_object()["messages"].as_list();
  JsonObject context;
  context.set("add_generation_prompt", true);
  for (const auto& key : given.keys()) context.set(key, given[key]);
  return context.freeze(file);
}

std::string read_template(const std::string& file) {
  std::string source = read_file(file);
  if (!source.empty()) return source;
  fail(ErrorKind::kInvalidData, "[--template] expected a Jinja template but '{}' is empty", file);
}

void print_prompt(const Flags& flags) {
  if (!flags.messages)
    fail(ErrorKind::kInvalidArgument, "[prompt] expected --messages but got none");
  const Json context = read_context(*flags.messages);
  const Checkpoint checkpoint = open_checkpoint(flags.model ? *flags.model : embedded_model());
  auto chat_template = processors::ChatTemplate::load(checkpoint);
  if (flags.template_file) {
    chat_template = chat_template.with_source(read_template(*flags.template_file));
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
  add_text(*command, "--messages", flags->messages,
           "JSON file (- is standard input): an object with `messages`, optionally `tools` and "
           "add_generation_prompt; other keys go to the template");
  add_text(*command, "--model", flags->model,
           "Checkpoint folder, or org/name in the Hugging Face cache [the embedded model]");
  add_text(*command, "--template", flags->template_file, "Jinja file instead of the checkpoint's");
  command->add_flag("--tokens", flags->tokens, "Print token ids, a JSON list");
  command->callback([flags] { print_prompt(*flags); });
}

}  // namespace fovea::cli

// ls, show, verify and rm: what is in the Hugging Face cache.
#include <CLI/CLI.hpp>
#include <cstdio>

#include "base/error.h"
#include "base/printable.h"
#include "cli/commands.h"
#include "cli/progress_line.h"
#include "hub/cache.h"

namespace fovea::cli {
namespace {

HubModel model_named(const char* command, const std::string& text) {
  const auto model = parse_hub_model(text);
  if (model) return *model;
  fail(ErrorKind::kInvalidArgument, "[{}] expected a model as org/name but got '{}'", command,
       text);
}

void show_model(const std::string& name) {
  const HubModel model = model_named("show", name);
  const auto files = hub::cached_files(model);
  std::printf("%s at %s\n%s\n", model.repository.c_str(), cached_commit(model)->c_str(),
              cached_snapshot(model)->c_str());
  for (const auto& file : files) {
    const std::string size = file.bytes < 0 ? "missing" : fmt::format("{} bytes", file.bytes);
    std::printf("%20s  %s\n", size.c_str(), printable(file.path).c_str());
  }
}

void verify_model(const std::string& name) {
  const HubModel model = model_named("verify", name);
  std::vector<std::string> bad;
  const auto files = hub::cached_files(model);
  {
    ProgressLine line("Reading " + model.repository);
    for (const auto& file : files) {
      line.set("Reading " + file.path);
      const auto health = hub::check(file);
      if (health == hub::Health::kWrong) bad.push_back(file.path + " (other bytes)");
      if (health == hub::Health::kMissing) bad.push_back(file.path + " (missing)");
      if (health == hub::Health::kUnknown) bad.push_back(file.path + " (no hash is known)");
    }
  }
  if (!bad.empty()) {
    fail(ErrorKind::kInvalidData, "[verify] expected {} files with their hashes but got others: {}",
         files.size(), fmt::join(bad, ", "));
  }
  std::printf("%s: all %zu files have their hashes\n", model.repository.c_str(), files.size());
}

void remove_model(const std::string& name) {
  const HubModel model = model_named("rm", name);
  const bool one = name.find('@') != std::string::npos;
  const int64_t bytes =
      one ? hub::remove_snapshot(model) : hub::remove_repository(model.repository);
  std::printf("%s: %.3f GB are free again\n", name.c_str(), gigabytes(bytes));
}

void add_named(CLI::App& program, const char* name, const char* help,
               void (*work)(const std::string&)) {
  auto* command = program.add_subcommand(name, help);
  auto model = std::make_shared<std::string>();
  command->add_option("MODEL", *model, "org/name, or org/name@revision");
  command->callback([model, work] { work(*model); });
}

}  // namespace

void list_cached_models() {
  for (const auto& repository : hub::cached_repositories()) {
    std::vector<std::string> refs;
    for (const auto& [ref, commit] : repository.refs) refs.push_back(printable(ref));
    std::printf("%9.3f GB  %s  %zu snapshot%s  %s\n", gigabytes(repository.bytes),
                repository.name.c_str(), repository.commits.size(),
                repository.commits.size() == 1 ? "" : "s",
                fmt::format("{}", fmt::join(refs, ", ")).c_str());
  }
}

void add_cache_commands(CLI::App& program) {
  program.add_subcommand("ls", "List the models in the Hugging Face cache")
      ->callback(list_cached_models);
  add_named(program, "show", "List the files of a model in the cache", show_model);
  add_named(program, "verify", "Check the files of a model in the cache by their hashes",
            verify_model);
  add_named(program, "rm", "Remove a model from the cache, or one revision of it", remove_model);
}

}  // namespace fovea::cli

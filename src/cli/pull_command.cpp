#include <CLI/CLI.hpp>
#include <cctype>
#include <cstdio>
#include <cstdlib>
#include <optional>

#include "base/error.h"
#include "cli/commands.h"
#include "cli/flag.h"
#include "cli/interrupt.h"
#include "cli/progress_line.h"
#include "core/limits.h"
#include "hub/pull.h"

namespace fovea::cli {
namespace {

struct Flags {
  std::string model;
  std::optional<std::string> revision;
  std::optional<std::string> endpoint;
  std::vector<std::string> include;
  int connections = 0;
};

// As huggingface_hub reads it.
bool is_offline() {
  const char* value = std::getenv("HF_HUB_OFFLINE");
  std::string text = value ? value : "";
  for (char& c : text) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  return text == "1" || text == "ON" || text == "YES" || text == "TRUE";
}

HubModel model_of(const Flags& flags) {
  auto model = parse_hub_model(flags.model);
  if (!model) {
    fail(ErrorKind::kInvalidArgument, "[pull] expected a model as org/name but got '{}'",
         flags.model);
  }
  if (flags.revision) model->revision = *flags.revision;
  return *model;
}

void pull_model(const Flags& flags) {
  const HubModel model = model_of(flags);
  if (is_offline()) {
    if (const auto snapshot = cached_snapshot(model)) {
      std::printf("%s\n", snapshot->c_str());
      return;
    }
    fail(ErrorKind::kNotFound,
         "[pull] expected '{}' in the cache because HF_HUB_OFFLINE is set but it is not there",
         flags.model);
  }
  auto remote = hub::Remote::from_environment();
  if (flags.endpoint) remote = remote.at(*flags.endpoint);
  hub::PullOptions options;
  options.include = flags.include;
  options.download.connections = flags.connections;
  watch_interrupts();
  hold_interrupts();
  options.download.stopped = interrupted;
  hub::Pulled pulled;
  {
    ProgressLine line("Asking " + remote.endpoint());
    options.progress = [&](int64_t here, int64_t all) {
      line.set(fmt::format("Pulling {}: {:.0f} % of {:.3g} GB", model.repository,
                           100 * static_cast<double>(here) / static_cast<double>(all),
                           gigabytes(all)));
    };
    pulled = hub::pull(remote, model, options);
  }
  std::printf("%s\n", pulled.snapshot.c_str());
  std::fprintf(stderr, "%s at %s: %d files, %.3f GB, of which %.3f GB came now\n",
               model.repository.c_str(), pulled.commit.c_str(), pulled.files,
               gigabytes(pulled.bytes), gigabytes(pulled.bytes_received));
}

}  // namespace

void add_pull_command(CLI::App& program) {
  auto* command =
      program.add_subcommand("pull", "Download a model from a hub into the Hugging Face cache");
  auto flags = std::make_shared<Flags>();
  command->add_option("MODEL", flags->model, "org/name, or org/name@revision");
  add_text(*command, "--revision", flags->revision, "Branch, tag or commit [main]");
  add_text(*command, "--endpoint", flags->endpoint,
           "Address of the hub or of a mirror [HF_ENDPOINT]");
  add_texts(*command, "--include", flags->include,
            "Files to take, as a shell pattern [what Fovea reads]");
  add_number(*command, kConnections, flags->connections, "Transfers at once");
  command->callback([flags] { pull_model(*flags); });
}

}  // namespace fovea::cli

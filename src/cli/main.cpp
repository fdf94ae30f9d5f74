// The program `fovea`: finds the subcommand and turns errors into one sentence and an exit code.
#include <CLI/CLI.hpp>
#include <cstdio>
#include <exception>

#include "base/error.h"
#include "cli/commands.h"

namespace {

constexpr int kUsageError = 2;
constexpr int kOurFault = 70;  // EX_SOFTWARE of sysexits.h

// CLI11 numbers its own errors; ours for bad usage is 2.
int usage_exit(const CLI::App& program, const CLI::ParseError& error) {
  const int code = program.exit(error);
  return code == 0 ? 0 : kUsageError;
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App program("Fovea: vision-language models on your own machine.", "fovea");
  program.set_version_flag("--version", "fovea " FOVEA_VERSION);
  program.require_subcommand(1);
  program.failure_message([](const CLI::App*, const CLI::Error& error) {
    return std::string("fovea: ") + error.what() + "\n";
  });
  fovea::cli::add_generate_command(program);
  fovea::cli::add_prompt_command(program);
  try {
    program.parse(argc, argv);
    return 0;
  } catch (const CLI::RuntimeError& error) {
    return error.get_exit_code();  // a command that has said all it had to say
  } catch (const CLI::ParseError& error) {
    return usage_exit(program, error);
  } catch (const fovea::Error& error) {
    std::fprintf(stderr, "fovea: %s\n", error.what());
    return fovea::exit_code(error.kind());
  } catch (const std::exception& error) {
    std::fprintf(stderr, "fovea: internal error: %s\n", error.what());
    return kOurFault;
  }
}

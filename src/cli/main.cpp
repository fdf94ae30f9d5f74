// The program `fovea`: finds the subcommand and turns errors into one sentence and an exit code.
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <exception>

#include "base/error.h"
#include "base/printable.h"
#include "cli/commands.h"

namespace {

constexpr int kUsageError = 2;
constexpr int kOurFault = 70;  // EX_SOFTWARE of sysexits.h

// A closed standard stream's number would go to the next file that is opened, and what is printed
// into that file. What stands in its place here refuses instead.
void occupy_closed_streams() {
  for (const int fd : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    if (::fcntl(fd, F_GETFD) != -1) continue;
    if (::open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY) != fd) return;
  }
}

template <class App>
std::string names_of(const std::vector<App*>& commands) {
  std::string names;
  for (const auto* command : commands) {
    names += (names.empty() ? "" : ", ") + command->get_name();
  }
  return names;
}

// CLI11's complaints in the form of our sentences.
std::string sentence_of(const CLI::App& program, const CLI::ParseError& error) {
  const std::string said = error.what();
  if (dynamic_cast<const CLI::ArgumentMismatch*>(&error)) {
    return fmt::format("[{}] expected a value but got none", said.substr(0, said.find(':')));
  }
  const auto extras = program.remaining(true);
  const std::string got = extras.empty() ? "none" : fmt::format("'{}'", extras.front());
  const auto parsed = program.get_subcommands();
  if (!parsed.empty()) {
    return fmt::format("[{}] expected flags that --help lists but got {}", names_of(parsed),
                       extras.empty() ? said : got);
  }
  return fmt::format("[fovea] expected a subcommand ({}) but got {}",
                     names_of(program.get_subcommands([](const CLI::App*) { return true; })), got);
}

int run(int argc, char** argv) {
  CLI::App program("Fovea: vision-language models on your own machine.", "fovea");
  program.set_version_flag("--version", "fovea " FOVEA_VERSION);
  program.require_subcommand(1);
  fovea::cli::add_convert_command(program);
  fovea::cli::add_doctor_command(program);
  fovea::cli::add_generate_command(program);
  fovea::cli::add_models_command(program);
  fovea::cli::add_prompt_command(program);
  fovea::cli::add_pull_command(program);
  fovea::cli::add_cache_commands(program);
  fovea::cli::add_speak_command(program);
  fovea::cli::add_synth_command(program);
  fovea::cli::add_transcribe_command(program);
  try {
    program.parse(argc, argv);
    return 0;
  } catch (const CLI::RuntimeError& error) {
    return error.get_exit_code();  // a command that has said all it had to say
  } catch (const CLI::Success& help) {
    return program.exit(help);
  } catch (const CLI::ParseError& error) {
    std::fprintf(stderr, "fovea: %s\n", fovea::printable(sentence_of(program, error)).c_str());
    return kUsageError;
  } catch (const fovea::Error& error) {
    std::fprintf(stderr, "fovea: %s\n", fovea::printable(error.what()).c_str());
    return fovea::exit_code(error.kind());
  } catch (const std::exception& error) {
    std::fprintf(stderr, "fovea: internal error: %s\n", fovea::printable(error.what()).c_str());
    return kOurFault;
  }
}

}  // namespace

int main(int argc, char** argv) {
  occupy_closed_streams();
  ::signal(SIGXFSZ, SIG_IGN);  // a file over the limit is an error of write() instead
  const int code = run(argc, argv);
  errno = 0;
  const bool written = std::fflush(stdout) == 0 && !std::ferror(stdout);
  if (code != 0 || written) return code;
  std::fprintf(stderr, "fovea: [output] expected standard output to take the answer but got: %s\n",
               errno != 0 ? std::strerror(errno) : "an error while writing");
  return fovea::exit_code(fovea::ErrorKind::kIo);
}

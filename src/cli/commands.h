// The subcommands of `fovea`, one a file. Each adds itself to the program; its callback does the
// work, writes results to standard output and throws fovea::Error for what the user can mend.
#pragma once

namespace CLI {
class App;
}

namespace fovea::cli {

void add_cache_commands(CLI::App& program);
void add_convert_command(CLI::App& program);
void add_doctor_command(CLI::App& program);
void add_generate_command(CLI::App& program);
void add_models_command(CLI::App& program);
void add_prompt_command(CLI::App& program);
void add_pull_command(CLI::App& program);
void add_speak_command(CLI::App& program);
void add_synth_command(CLI::App& program);
void add_transcribe_command(CLI::App& program);

// Prints a line for each model in the Hugging Face cache.
void list_cached_models();

}  // namespace fovea::cli

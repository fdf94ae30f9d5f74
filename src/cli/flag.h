// The flags of the subcommands, over CLI11: each holds one value, and what is given twice or out of
// its range is refused with a sentence in the form of all others. `value` must outlive the parse.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "core/limits.h"

namespace CLI {
class App;
}

namespace fovea::cli {

void add_text(CLI::App& command, const std::string& flag, std::optional<std::string>& value,
              const std::string& help);

// May be given more than once.
void add_texts(CLI::App& command, const std::string& flag, std::vector<std::string>& values,
               const std::string& help);

// T is int, double or uint64_t. Without an optional, help shows the limit's standard value.
template <class T>
void add_number(CLI::App& command, const Limit<T>& limit, std::optional<T>& value,
                const std::string& help);
// Where the limit names a variable of the environment, that holds without the flag.
template <class T>
void add_number(CLI::App& command, const Limit<T>& limit, T& value, const std::string& help);

// One of `choices`; help shows what `value` holds before the parse, unless it is optional.
void add_choice(CLI::App& command, const std::string& flag, const std::vector<std::string>& choices,
                std::string& value, const std::string& help);
void add_choice(CLI::App& command, const std::string& flag, const std::vector<int>& choices,
                int& value, const std::string& help);
void add_choice(CLI::App& command, const std::string& flag, const std::vector<std::string>& choices,
                std::optional<std::string>& value, const std::string& help);
void add_choice(CLI::App& command, const std::string& flag, const std::vector<int>& choices,
                std::optional<int>& value, const std::string& help);

// One or two numbers, in one place.
void add_pair(CLI::App& command, const Limit<int>& limit, std::vector<int>& values,
              const std::string& help);

}  // namespace fovea::cli

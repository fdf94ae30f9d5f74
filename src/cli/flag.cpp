#include "cli/flag.h"

#include <CLI/CLI.hpp>
#include <algorithm>

#include "base/error.h"
#include "base/number.h"

namespace fovea::cli {
namespace {

using Words = std::vector<std::string>;

CLI::Option* add(CLI::App& command, const std::string& flag, const std::string& help,
                 const std::string& type, std::function<void(const Words&)> take) {
  const auto callback = [take = std::move(take)](const Words& words) {
    take(words);
    return true;
  };
  return command.add_option(flag, callback, help)
      ->expected(1)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll)
      ->type_name(type);
}

const std::string& only(const std::string& flag, const Words& words) {
  if (words.size() != 1) {
    fail(ErrorKind::kInvalidArgument, "[{}] expected one value but got {}", flag, words.size());
  }
  return words.front();
}

template <class T>
T number(const Limit<T>& limit, const std::string& text) {
  return parse_number(limit.flag, text, limit.low, limit.high);
}

std::string chosen(const std::string& flag, const std::vector<std::string>& choices,
                   const std::string& word) {
  if (std::find(choices.begin(), choices.end(), word) != choices.end()) return word;
  fail(ErrorKind::kInvalidArgument, "[{}] expected one of {} but got '{}'", flag,
       fmt::join(choices, ", "), word);
}

int chosen(const std::string& flag, const std::vector<int>& choices, const std::string& word) {
  const int number = parse_number(flag, word, choices.front(), choices.back());
  if (std::find(choices.begin(), choices.end(), number) != choices.end()) return number;
  fail(ErrorKind::kInvalidArgument, "[{}] expected one of {} but got {}", flag,
       fmt::join(choices, ", "), number);
}

// `Value` holds a choice, or is an optional one.
template <class Choice, class Value>
CLI::Option* add_chosen(CLI::App& command, const std::string& flag,
                        const std::vector<Choice>& choices, Value& value, const std::string& help,
                        const char* type) {
  return add(command, flag, help, type, [&value, choices, flag](const Words& words) {
    value = chosen(flag, choices, only(flag, words));
  });
}

}  // namespace

void add_text(CLI::App& command, const std::string& flag, std::optional<std::string>& value,
              const std::string& help) {
  add(command, flag, help, "TEXT",
      [&value, flag](const Words& words) { value = only(flag, words); });
}

void add_texts(CLI::App& command, const std::string& flag, std::vector<std::string>& values,
               const std::string& help) {
  add(command, flag, help, "TEXT", [&values](const Words& words) { values = words; });
}

template <class T>
void add_number(CLI::App& command, const Limit<T>& limit, std::optional<T>& value,
                const std::string& help) {
  const std::string flag(limit.flag);
  add(command, flag, help, "NUMBER",
      [&value, &limit, flag](const Words& words) { value = number(limit, only(flag, words)); });
}

template void add_number(CLI::App&, const Limit<int>&, std::optional<int>&, const std::string&);
template void add_number(CLI::App&, const Limit<double>&, std::optional<double>&,
                         const std::string&);
template void add_number(CLI::App&, const Limit<uint64_t>&, std::optional<uint64_t>&,
                         const std::string&);

template <class T>
void add_number(CLI::App& command, const Limit<T>& limit, T& value, const std::string& help) {
  const std::string flag(limit.flag);
  value = limit.standard;
  add(command, flag, help, "NUMBER",
      [&value, &limit, flag](const Words& words) { value = number(limit, only(flag, words)); })
      ->default_str(fmt::format("{}", limit.standard))
      ->envname(std::string(limit.variable));
}

template void add_number(CLI::App&, const Limit<int>&, int&, const std::string&);
template void add_number(CLI::App&, const Limit<double>&, double&, const std::string&);

void add_choice(CLI::App& command, const std::string& flag, const std::vector<std::string>& choices,
                std::string& value, const std::string& help) {
  add_chosen(command, flag, choices, value, help, "TEXT")->default_str(value);
}

void add_choice(CLI::App& command, const std::string& flag, const std::vector<int>& choices,
                int& value, const std::string& help) {
  add_chosen(command, flag, choices, value, help, "NUMBER")->default_str(std::to_string(value));
}

void add_choice(CLI::App& command, const std::string& flag, const std::vector<std::string>& choices,
                std::optional<std::string>& value, const std::string& help) {
  add_chosen(command, flag, choices, value, help, "TEXT");
}

void add_choice(CLI::App& command, const std::string& flag, const std::vector<int>& choices,
                std::optional<int>& value, const std::string& help) {
  add_chosen(command, flag, choices, value, help, "NUMBER");
}

void add_pair(CLI::App& command, const Limit<int>& limit, std::vector<int>& values,
              const std::string& help) {
  const std::string flag(limit.flag);
  // The separator between two uses is an empty word.
  add(command, flag, help, "NUMBER",
      [&values, &limit, flag](const Words& words) {
        if (std::find(words.begin(), words.end(), "") != words.end()) {
          fail(ErrorKind::kInvalidArgument,
               "[{}] expected one or two numbers but got it more than once", flag);
        }
        values.clear();
        for (const auto& word : words) values.push_back(number(limit, word));
      })
      ->expected(1, 2)
      ->inject_separator();
}

}  // namespace fovea::cli

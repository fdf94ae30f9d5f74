#include "convert/sidecars.h"

#include <algorithm>
#include <array>
#include <sstream>

#include "base/error.h"
#include "core/hub_cache.h"

namespace fovea::convert {
namespace {

namespace fs = std::filesystem;

bool is_sidecar(const fs::path& file) {
  constexpr std::array kEndings = {".json", ".jsonl", ".txt", ".jinja", ".model", ".tiktoken"};
  constexpr std::array kLicences = {"LICENSE", "LICENCE", "NOTICE", "USE_POLICY"};
  const std::string name = file.filename().string();
  if (name == "config.json" || name.ends_with(".index.json")) return false;
  const auto ends = [&](const char* ending) { return file.extension() == ending; };
  const auto begins = [&](const char* begin) { return name.starts_with(begin); };
  return std::any_of(kEndings.begin(), kEndings.end(), ends) ||
         std::any_of(kLicences.begin(), kLicences.end(), begins);
}

// The lines of a card's front matter that begin with one of `keys`, each with the list below it.
std::string front_matter(const std::string& card, std::initializer_list<std::string_view> keys) {
  std::istringstream lines(card);
  std::string line;
  if (!std::getline(lines, line) || line != "---") return "";
  std::string kept;
  bool keeping = false;
  while (std::getline(lines, line) && line != "---") {
    const bool nested = line.starts_with(" ") || line.starts_with("-");
    if (!nested) {
      keeping = std::any_of(keys.begin(), keys.end(), [&](std::string_view key) {
        return line.starts_with(std::string(key) + ":");
      });
    }
    if (keeping) kept += line + "\n";
  }
  return kept;
}

// org/name of a checkpoint that was named so and not as a folder.
std::string repository_of(const Checkpoint& source) {
  const auto named = parse_hub_model(source.name);
  std::error_code unreadable;
  return named && !fs::exists(source.name, unreadable) ? named->repository : "";
}

}  // namespace

void copy_sidecars(const fs::path& from, const fs::path& to, const fs::path& draft) {
  std::error_code error;
  const auto require = [&](const fs::path& name) {
    if (!error) return;
    fail(ErrorKind::kIo, "[convert] expected to copy '{}' but got: {}", name.string(),
         error.message());
  };
  fs::directory_iterator entry(from, error);
  require(from.filename());
  for (; entry != fs::directory_iterator(); entry.increment(error), require(from.filename())) {
    const fs::path name = entry->path().filename();
    std::error_code unreadable;  // what cannot be looked at is neither
    if (name.string().starts_with(".")) continue;
    if (entry->is_directory(unreadable)) {
      // A link may lead out of the model, or back to a folder above.
      if (entry->is_symlink(unreadable) || fs::equivalent(entry->path(), draft, unreadable)) {
        continue;
      }
      fs::create_directory(to / name, error);
      require(name);
      copy_sidecars(entry->path(), to / name, draft);
      if (fs::is_empty(to / name, unreadable)) fs::remove(to / name, unreadable);
    } else if (is_sidecar(entry->path()) && entry->is_regular_file(unreadable)) {
      fs::copy_file(entry->path(), to / name, error);
      require(name);
    }
  }
}

std::string model_card(const Checkpoint& source, const std::string& what) {
  const std::string old = source.read_text("README.md").value_or("");
  const std::string repository = repository_of(source);
  std::string card = "---\nlibrary_name: mlx\ntags:\n- mlx\npipeline_tag: image-text-to-text\n";
  if (!repository.empty()) card += "base_model: " + repository + "\n";
  card += front_matter(old, {"license", "license_name", "license_link", "language"}) + "---\n\n";
  card +=
      fmt::format("# {}\n\n", repository.empty() ? source.folder.filename().string() : repository);
  card += fmt::format("{} Made{} by `fovea convert` {}.\n", what,
                      repository.empty() ? "" : " from " + repository, FOVEA_VERSION);
  return card;
}

}  // namespace fovea::convert

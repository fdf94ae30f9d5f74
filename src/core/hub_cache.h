// The Hugging Face cache on this machine: where a model's files are, or would be. Its layout is
// shared with other programs: models--org--name/{blobs,refs,snapshots}. Nothing is written here;
// any thread may call.
#pragma once

#include <filesystem>
#include <optional>
#include <string>

namespace fovea {

// org/name, as the hub allows it.
bool is_repository_name(const std::string& text);

// `org/name` or `org/name@revision`: a branch, a tag or a commit.
struct HubModel {
  std::string repository;
  std::string revision = "main";
};

// Nothing for any other text.
std::optional<HubModel> parse_hub_model(const std::string& text);

// HF_HOME, else XDG_CACHE_HOME/huggingface, else ~/.cache/huggingface.
std::filesystem::path hub_home();

// HF_HUB_CACHE, else hub_home()/hub.
std::filesystem::path hub_cache();

// models--org--name in the cache.
std::filesystem::path repository_folder(const std::string& repository);

// The commit that the revision is on this machine, or nothing: what refs/REVISION says, else the
// revision itself where a snapshot has its name. Throws Error(kInvalidData) for a ref that leads
// out of the cache.
std::optional<std::string> cached_commit(const HubModel& model);

// The snapshot of that commit, where there is one.
std::optional<std::filesystem::path> cached_snapshot(const HubModel& model);

}  // namespace fovea

// What the cache holds, whoever put it there: listed, checked and removed. Any thread may call.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "core/hub_cache.h"

namespace fovea::hub {

struct CachedRepository {
  std::string name;   // org/name
  int64_t bytes = 0;  // of its blobs
  std::vector<std::string> commits;
  std::map<std::string, std::string> refs;  // revision -> commit
};

// Sorted by name; an empty list where there is no cache.
std::vector<CachedRepository> cached_repositories();

struct CachedFile {
  std::string path;
  std::filesystem::path blob;  // where its link leads
  int64_t bytes = -1;          // -1: it leads nowhere
};

// Sorted by path. Throws Error(kNotFound) where the cache does not have the model, as the functions
// below do.
std::vector<CachedFile> cached_files(const HubModel& model);

enum class Health { kGood, kWrong, kMissing, kUnknown };  // kUnknown: its blob's name is no hash
Health check(const CachedFile& file);

// Removes a snapshot, the revisions that lead to it and the blobs that no other snapshot has; all
// of the model where nothing else is left. Returns the bytes that became free.
int64_t remove_snapshot(const HubModel& model);
// The whole model.
int64_t remove_repository(const std::string& repository);

}  // namespace fovea::hub

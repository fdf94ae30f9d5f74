#include "core/checkpoint.h"

#include <gtest/gtest.h>
#include <stdlib.h>

#include "support/expect_error.h"
#include "support/temporary_folder.h"

namespace fovea {
namespace {

// One variable that says where the cache is, and no other; the environment is put back at its end.
class HubCache {
 public:
  explicit HubCache(const std::filesystem::path& path,
                    const std::string& variable = "HF_HUB_CACHE") {
    for (const char* name : {"HF_HUB_CACHE", "HF_HOME", "XDG_CACHE_HOME", "HOME"}) {
      const char* old = ::getenv(name);
      old_.emplace_back(name, old ? std::optional<std::string>(old) : std::nullopt);
      ::unsetenv(name);
    }
    ::setenv(variable.c_str(), path.c_str(), 1);
  }
  ~HubCache() {
    for (const auto& [name, value] : old_) {
      ::unsetenv(name.c_str());
      if (value) ::setenv(name.c_str(), value->c_str(), 1);
    }
  }
  HubCache(const HubCache&) = delete;
  HubCache& operator=(const HubCache&) = delete;

 private:
  std::vector<std::pair<std::string, std::optional<std::string>>> old_;
};

TEST(Checkpoint, OpensAFolder) {
  const testing::TemporaryFolder folder;
  folder.write("config.json", R"({"model_type": "Qwen2_VL"})");
  folder.write("generation_config.json", R"({"top_p": 0.5})");
  const Checkpoint checkpoint = open_checkpoint(folder.path().string());
  EXPECT_EQ(checkpoint.model_type(), "qwen2_vl");
  EXPECT_EQ(checkpoint.generation_config.get_double("top_p", 1), 0.5);
  EXPECT_FALSE(checkpoint.read_text("absent.txt").has_value());
  EXPECT_TRUE(checkpoint.read_json("absent.json").is_null());
}

TEST(Checkpoint, FindsARepositoryInTheHuggingFaceCache) {
  const testing::TemporaryFolder cache;
  const HubCache environment(cache.path());
  cache.write("models--org--name/refs/main", "abc123\n");
  cache.write("models--org--name/snapshots/abc123/config.json", R"({"model_type": "llava"})");
  EXPECT_EQ(open_checkpoint("org/name").model_type(), "llava");
  EXPECT_ERROR(open_checkpoint("org/other"), ErrorKind::kNotFound, "'org/other'");
}

TEST(Checkpoint, TheCacheIsWhereTheEnvironmentSays) {
  for (const auto& [variable, below] :
       std::vector<std::pair<std::string, std::string>>{{"HF_HUB_CACHE", ""},
                                                        {"HF_HOME", "hub/"},
                                                        {"XDG_CACHE_HOME", "huggingface/hub/"},
                                                        {"HOME", ".cache/huggingface/hub/"}}) {
    const testing::TemporaryFolder folder;
    const HubCache environment(folder.path(), variable);
    folder.write(below + "models--org--name/refs/main", "abc");
    folder.write(below + "models--org--name/snapshots/abc/config.json", R"({"model_type": "x"})");
    EXPECT_EQ(open_checkpoint("org/name").model_type(), "x") << variable;
  }
}

TEST(Checkpoint, NamesThatCannotBeLookedUpAreTheCallersToMend) {
  const testing::TemporaryFolder folder;
  const auto loop = folder.path() / "loop";
  std::filesystem::create_symlink(loop, loop);
  for (const auto& name : {loop.string(), std::string(300, 'n')}) {
    EXPECT_ERROR(open_checkpoint(name), ErrorKind::kInvalidArgument, "that can be read");
  }
  const testing::TemporaryFolder cache;
  const HubCache environment(cache.path());
  EXPECT_ERROR(open_checkpoint("org/" + std::string(300, 'n')), ErrorKind::kNotFound, "neither");
  std::filesystem::create_symlink(folder.path() / "config.json", folder.path() / "config.json");
  EXPECT_ERROR(open_checkpoint(folder.path().string()), ErrorKind::kInvalidArgument,
               "expected a file that can be read");
}

TEST(Checkpoint, ARefCannotLeadOutOfTheCache) {
  const testing::TemporaryFolder cache;
  const HubCache environment(cache.path());
  cache.write("models--org--name/refs/main", "../../../elsewhere");
  EXPECT_ERROR(open_checkpoint("org/name"), ErrorKind::kInvalidData, "inside the folder");
}

TEST(Checkpoint, EachBadFolderHasItsSentence) {
  const testing::TemporaryFolder folder;
  const std::string path = folder.path().string();
  EXPECT_ERROR(open_checkpoint(path + "/none/at/all"), ErrorKind::kNotFound, "there is no folder");
  EXPECT_ERROR(open_checkpoint(path), ErrorKind::kNotFound, "expected a file config.json");
  const auto file = folder.write("file", "x");
  EXPECT_ERROR(open_checkpoint(file.string()), ErrorKind::kInvalidArgument, "is a file");
  folder.write("config.json", "[1]");
  EXPECT_ERROR(open_checkpoint(path), ErrorKind::kInvalidData, "expected an object");
  folder.write("config.json", "{}");
  EXPECT_ERROR(open_checkpoint(path).model_type(), ErrorKind::kInvalidData, "'model_type'");
}

}  // namespace
}  // namespace fovea

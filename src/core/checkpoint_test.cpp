#include "core/checkpoint.h"

#include <gtest/gtest.h>
#include <stdlib.h>

#include "support/expect_error.h"
#include "support/temporary_folder.h"

namespace fovea {
namespace {

// The cache location for one test; the environment is put back at its end.
class HubCache {
 public:
  explicit HubCache(const std::filesystem::path& path) {
    if (const char* old = ::getenv("HF_HUB_CACHE")) old_ = old;
    ::setenv("HF_HUB_CACHE", path.c_str(), 1);
  }
  ~HubCache() {
    if (old_) {
      ::setenv("HF_HUB_CACHE", old_->c_str(), 1);
    } else {
      ::unsetenv("HF_HUB_CACHE");
    }
  }
  HubCache(const HubCache&) = delete;
  HubCache& operator=(const HubCache&) = delete;

 private:
  std::optional<std::string> old_;
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

#include "core/checkpoint.h"

#include <gtest/gtest.h>

#include "support/expect_error.h"
#include "support/hub_environment.h"
#include "support/temporary_folder.h"

namespace fovea {
namespace {

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

// mistral-community/pixtral-12b and mlx-community/pixtral-12b-4bit.
TEST(Checkpoint, PixtralsAreOneFamilyWhateverTheyCallThemselves) {
  Checkpoint checkpoint;
  for (const char* config :
       {R"({"model_type": "llava", "vision_config": {"model_type": "pixtral"}})",
        R"({"model_type": "pixtral", "vision_config": {"model_type": "pixtral"}})"}) {
    checkpoint.config = Json::parse(config, "config.json");
    EXPECT_EQ(checkpoint.model_type(), "pixtral");
  }
  checkpoint.config = Json::parse(R"({"model_type": "llava", "vision_config": {}})", "config.json");
  EXPECT_EQ(checkpoint.model_type(), "llava");
}

TEST(Checkpoint, FindsARepositoryInTheHuggingFaceCache) {
  const testing::TemporaryFolder cache;
  const testing::HubEnvironment environment(cache.path());
  cache.write("models--org--name/refs/main", "abc123\n");
  cache.write("models--org--name/snapshots/abc123/config.json", R"({"model_type": "llava"})");
  EXPECT_EQ(open_checkpoint("org/name").model_type(), "llava");
  EXPECT_ERROR(open_checkpoint("org/other"), ErrorKind::kNotFound, "run fovea pull org/other");
}

TEST(Checkpoint, FindsARevisionByItsRefOrItsCommit) {
  const testing::TemporaryFolder cache;
  const testing::HubEnvironment environment(cache.path());
  cache.write("models--org--name/refs/main", "abc");
  cache.write("models--org--name/refs/refs/pr/7", "def");
  cache.write("models--org--name/snapshots/abc/config.json", R"({"model_type": "old"})");
  cache.write("models--org--name/snapshots/def/config.json", R"({"model_type": "new"})");
  EXPECT_EQ(open_checkpoint("org/name").model_type(), "old");
  EXPECT_EQ(open_checkpoint("org/name@def").model_type(), "new");
  EXPECT_EQ(open_checkpoint("org/name@refs/pr/7").model_type(), "new");
  EXPECT_ERROR(open_checkpoint("org/name@abcd"), ErrorKind::kNotFound, "pull org/name@abcd");
  EXPECT_ERROR(open_checkpoint("org/name@../x"), ErrorKind::kInvalidData, "inside the folder");
  EXPECT_ERROR(open_checkpoint("org/name@"), ErrorKind::kNotFound, "there is no folder");
}

TEST(Checkpoint, TheCacheIsWhereTheEnvironmentSays) {
  for (const auto& [variable, below] :
       std::vector<std::pair<std::string, std::string>>{{"HF_HUB_CACHE", ""},
                                                        {"HF_HOME", "hub/"},
                                                        {"XDG_CACHE_HOME", "huggingface/hub/"},
                                                        {"HOME", ".cache/huggingface/hub/"}}) {
    const testing::TemporaryFolder folder;
    const testing::HubEnvironment environment(folder.path(), variable);
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
  const testing::HubEnvironment environment(cache.path());
  EXPECT_ERROR(open_checkpoint("org/" + std::string(300, 'n')), ErrorKind::kNotFound, "neither");
  std::filesystem::create_symlink(folder.path() / "config.json", folder.path() / "config.json");
  EXPECT_ERROR(open_checkpoint(folder.path().string()), ErrorKind::kInvalidArgument,
               "expected a file that can be read");
}

TEST(Checkpoint, ARefCannotLeadOutOfTheCache) {
  const testing::TemporaryFolder cache;
  const testing::HubEnvironment environment(cache.path());
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

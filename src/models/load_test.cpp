// Whole checkpoints of tests/fixtures with their config.json or their names changed.
#include <gtest/gtest.h>

#include <cstring>

#include "models/model.h"
#include "support/fixtures.h"
#include "support/temporary_folder.h"

namespace fovea::models {
namespace {

Checkpoint fixture(const std::string& name) {
  return open_checkpoint(testing::fixture_path("parity/" + name).string());
}
Checkpoint clip() { return fixture("llava/checkpoints/clip-llama-hf-f32"); }

TEST(Load, ReadsTowersAsNewerTransformersNamesThem) {
  const testing::TemporaryFolder folder;
  auto checkpoint = clip();
  std::string file = read_file(checkpoint.folder / "model.safetensors");
  uint64_t length = 0;
  std::memcpy(&length, file.data(), sizeof length);
  std::string header = file.substr(sizeof length, length);
  const std::string old = "vision_tower.vision_model.";
  for (size_t at = header.find(old); at != std::string::npos; at = header.find(old, at)) {
    header.replace(at, old.size(), "model.vision_tower.");
  }
  header.resize(length, ' ');
  folder.write("model.safetensors", file.replace(sizeof length, length, header));
  checkpoint.folder = folder.path();
  EXPECT_NE(load_model(checkpoint), nullptr);
}

}  // namespace
}  // namespace fovea::models

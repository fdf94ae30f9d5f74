// fovea pull, ls, show, verify and rm, against a hub on this machine; killed at any time, with a
// full disk, and two at once.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <map>
#include <set>
#include <thread>

#include "base/file.h"
#include "support/command_line.h"
#include "support/fixtures.h"
#include "support/local_hub.h"
#include "support/temporary_folder.h"

namespace fovea {
namespace {

using testing::expect_refused;
using ::testing::HasSubstr;
using testing::LocalHub;
using testing::Outcome;
using testing::shell;
using testing::some_bytes;
namespace fs = std::filesystem;

constexpr const char* kWeights = "model.safetensors";

class HubCommands : public ::testing::Test {
 protected:
  // `before` is shell text: limits, more variables.
  Outcome run(const std::vector<std::string>& words, const std::string& before = "") const {
    return shell(fmt::format("{} HF_HUB_CACHE={} HF_ENDPOINT={} {}", before, cache_.path().string(),
                             hub_.address(), testing::command_line(words)));
  }

  void add_checkpoint() {
    const auto folder = testing::fixture_path("parity/qwen2_vl/checkpoints/mlx-4bit");
    for (const auto& entry : fs::directory_iterator(folder)) {
      hub_.add(entry.path().filename().string(), read_file(entry.path()));
    }
  }

  fs::path root() const { return cache_.path() / "models--org--name"; }

  // Every blob under a final name has the bytes that its name says.
  void expect_blobs_are_good(const std::map<std::string, std::string>& files) const {
    std::error_code none;
    for (const auto& entry : fs::directory_iterator(root() / "blobs", none)) {
      const std::string name = entry.path().filename().string();
      if (name.find('.') != std::string::npos) continue;  // on its way
      bool known = false;
      for (const auto& [path, bytes] : files) {
        if (LocalHub::digest(path, bytes) != name) continue;
        known = true;
        EXPECT_EQ(read_file(entry.path()), bytes) << path;
      }
      EXPECT_TRUE(known) << name;
    }
  }

  // Bounds of the chunks of the weights that the list beside them calls whole.
  std::vector<std::pair<size_t, size_t>> chunks_that_came(const std::string& weights) const {
    const fs::path blob = root() / "blobs" / LocalHub::digest(kWeights, weights);
    if (!fs::exists(blob.string() + ".fovea-list")) return {};
    const std::string list = read_file(blob.string() + ".fovea-list");
    std::vector<std::pair<size_t, size_t>> chunks;
    const size_t first = list.find('\n') + 1;
    for (size_t i = first; i < list.size(); ++i) {
      const size_t begin = (i - first) * kChunk;
      if (list[i] == '1') chunks.emplace_back(begin, std::min(begin + kChunk, weights.size()));
    }
    return chunks;
  }

  // Of what the hub was asked since its request `since`, nothing is in `chunks`.
  void expect_not_asked_for(const std::vector<std::pair<size_t, size_t>>& chunks,
                            size_t since) const {
    const auto requests = hub_.requests();
    for (size_t i = since; i < requests.size(); ++i) {
      if (!requests[i].target.ends_with(kWeights)) continue;
      const auto range = requests[i].headers.find("range");
      ASSERT_NE(range, requests[i].headers.end()) << "all of it was asked for";
      size_t from = 0;
      size_t last = 0;
      ASSERT_EQ(std::sscanf(range->second.c_str(), "bytes=%zu-%zu", &from, &last), 2);
      for (const auto& [begin, end] : chunks) {
        EXPECT_TRUE(last < begin || from >= end) << range->second << " but " << begin << " came";
      }
    }
  }

  static constexpr size_t kChunk = size_t{8} << 20;

  testing::TemporaryFolder cache_;
  LocalHub hub_;
};

TEST_F(HubCommands, AModelIsPulledUsedListedAndRemoved) {
  add_checkpoint();
  const std::vector<std::string> ask = {"generate", "--model",      "org/name", "--prompt",
                                        "Hi",       "--max-tokens", "2",        "--json"};
  expect_refused(run(ask), "run fovea pull org/name");
  const Outcome pulled = run({"pull", "org/name"});
  ASSERT_EQ(pulled.code, 0) << pulled.err;
  EXPECT_EQ(pulled.out, (root() / "snapshots" / LocalHub::kCommit).string() + "\n");
  EXPECT_EQ(run(ask, "HF_HUB_OFFLINE=1").code, 0);
  EXPECT_THAT(run({"ls"}).out, HasSubstr("GB  org/name  1 snapshot  main\n"));
  EXPECT_EQ(run({"models"}).out, run({"ls"}).out);
  EXPECT_THAT(run({"show", "org/name"}).out, HasSubstr("  model.safetensors\n"));
  EXPECT_THAT(run({"verify", "org/name"}).out, HasSubstr("files have their hashes"));
  const auto blob = fs::canonical(root() / "snapshots" / LocalHub::kCommit / "config.json");
  write_file_atomic(blob, "{}");
  expect_refused(run({"verify", "org/name"}), "config.json (other bytes)");
  EXPECT_THAT(run({"rm", "org/name"}).out, HasSubstr("org/name: "));
  EXPECT_EQ(run({"ls"}).out, "");
  expect_refused(run({"rm", "org/name"}), "it is not there");
}

TEST_F(HubCommands, BadRequestsGetOneSentence) {
  expect_refused(run({"pull", "name"}), "[pull] expected a model as org/name but got 'name'");
  expect_refused(run({"pull", "org/other"}), "a model 'org/other' with a revision 'main'");
  expect_refused(run({"pull", "org/name", "--revision", "v9"}), "with a revision 'v9'");
  expect_refused(run({"pull", "org/name", "--endpoint", "elsewhere"}), "http or https address");
  expect_refused(run({"pull", "org/name", "--connections", "0"}), "[--connections] expected");
  expect_refused(run({"pull", "org/name"}, "HF_HUB_OFFLINE=1"), "HF_HUB_OFFLINE is set");
  expect_refused(run({"show", "org/name"}), "'org/name' at 'main' in the cache");
}

// Names come from a hub, or from whoever else writes into the cache.
TEST_F(HubCommands, NamesCannotDriveTheTerminal) {
  hub_.add("config.json", "{}");
  ASSERT_EQ(run({"pull", "org/name"}).code, 0);
  write_file_atomic(root() / "refs" / "v1\033[2J", LocalHub::kCommit);
  fs::create_symlink("../../blobs/none",
                     root() / "snapshots" / LocalHub::kCommit / "x\033]0;y.json");
  for (const auto& words : {std::vector<std::string>{"ls"}, {"show", "org/name"}}) {
    const Outcome outcome = run(words);
    EXPECT_EQ(outcome.code, 0) << outcome.err;
    EXPECT_EQ(outcome.out.find('\033'), std::string::npos) << words[0];
    EXPECT_THAT(outcome.out, HasSubstr("\\x1b"));
  }
}

// At whatever moment it dies: nothing bad has a final name, and what came is not asked for again.
TEST_F(HubCommands, KilledAtAnyTimeItGoesOn) {
  constexpr size_t kRate = size_t{20} << 20;
  constexpr size_t kLostMax = 4 * kChunk;  // one of each connection
  const std::map<std::string, std::string> files = {{kWeights, some_bytes(48'000'001)},
                                                    {"config.json", "{}"}};
  for (const auto& [path, bytes] : files) hub_.add(path, bytes);
  hub_.after([](const auto&, LocalHub::Reply& reply) { reply.rate = kRate; });
  size_t kills = 0;
  for (int i = 0; i < 12; ++i) {
    const auto came = chunks_that_came(files.at(kWeights));
    const size_t since = hub_.requests().size();
    const std::string limit = fmt::format("timeout --foreground -s KILL 0.{:02}", 5 + 37 * i % 60);
    const Outcome outcome =
        shell(fmt::format("HF_HUB_CACHE={} HF_ENDPOINT={} {} {}", cache_.path().string(),
                          hub_.address(), limit, testing::command_line({"pull", "org/name"})));
    if (!came.empty()) expect_not_asked_for(came, since);
    if (outcome.code == 0) break;
    ++kills;
    expect_blobs_are_good(files);
    // Only when all was done may the revision point there.
    if (fs::exists(root() / "refs" / "main")) {
      EXPECT_EQ(run({"verify", "org/name"}).code, 0);
    }
  }
  EXPECT_GT(kills, 0u);
  const Outcome whole = run({"pull", "org/name"});
  EXPECT_EQ(whole.code, 0) << whole.err;
  EXPECT_EQ(run({"verify", "org/name"}).code, 0);
  EXPECT_LE(hub_.bytes_sent(kWeights), files.at(kWeights).size() + kills * kLostMax);
  std::set<std::string> left;
  for (const auto& entry : fs::directory_iterator(root() / "blobs")) {
    left.insert(entry.path().filename().string());
  }
  EXPECT_EQ(left.size(), 2u);
}

// Whatever the clock: connections end behind a chunk, and then nothing more is given.
TEST_F(HubCommands, ChunksThatCameAreNotAskedForAgain) {
  const std::string weights = some_bytes(48'000'001);
  hub_.add(kWeights, weights);
  std::atomic<int> asked{0};
  hub_.after([&](const LocalHub::Request& request, LocalHub::Reply& reply) {
    if (!request.target.ends_with(kWeights)) return;
    reply.cut_at = kChunk + 1000;
    if (asked++ >= 4) reply = {404, ""};
  });
  EXPECT_NE(run({"pull", "org/name"}).code, 0);
  const auto came = chunks_that_came(weights);
  ASSERT_FALSE(came.empty());
  hub_.after({});
  const size_t since = hub_.requests().size();
  EXPECT_EQ(run({"pull", "org/name"}).code, 0);
  expect_not_asked_for(came, since);
  EXPECT_EQ(run({"verify", "org/name"}).code, 0);
}

TEST_F(HubCommands, AFullDiskIsToldAndWhatCameStays) {
  const std::map<std::string, std::string> files = {{kWeights, some_bytes(24'000'000)}};
  hub_.add(kWeights, files.at(kWeights));
  const Outcome full = run({"pull", "org/name"}, "ulimit -f 16384;");
  EXPECT_EQ(full.code, 1) << full.err;
  EXPECT_THAT(full.err, HasSubstr("fovea: [hub] expected to write"));
  EXPECT_THAT(full.err, HasSubstr("File too large"));
  expect_blobs_are_good(files);
  EXPECT_FALSE(fs::exists(root() / "refs" / "main"));
  EXPECT_EQ(run({"pull", "org/name"}).code, 0);
  EXPECT_EQ(run({"verify", "org/name"}).code, 0);
}

TEST_F(HubCommands, TwoAtOnceShareTheWork) {
  hub_.add(kWeights, some_bytes(20'000'000));
  hub_.after([](const auto&, LocalHub::Reply& reply) { reply.rate = size_t{20} << 20; });
  Outcome first;
  std::thread other([&] { first = run({"pull", "org/name"}); });
  const Outcome second = run({"pull", "org/name"});
  other.join();
  EXPECT_EQ(first.code, 0) << first.err;
  EXPECT_EQ(second.code, 0) << second.err;
  EXPECT_EQ(hub_.bytes_sent(kWeights), 20'000'000u);
}

}  // namespace
}  // namespace fovea

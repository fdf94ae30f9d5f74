#include "base/draft_folder.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>

#include "support/expect_error.h"
#include "support/failing_call.h"
#include "support/temporary_folder.h"

namespace fovea {
namespace {

namespace fs = std::filesystem;

int entries(const fs::path& folder) {
  int count = 0;
  for ([[maybe_unused]] const auto& entry : fs::directory_iterator(folder)) ++count;
  return count;
}

TEST(DraftFolder, BecomesItsPathWhole) {
  const testing::TemporaryFolder folder;
  const fs::path out = folder.path() / "deep" / "out";
  {
    DraftFolder draft(out);
    std::ofstream(draft.draft() / "a") << "1";
    EXPECT_FALSE(fs::exists(out));
    EXPECT_EQ(draft.draft().parent_path(), out.parent_path());
    draft.publish();
  }
  EXPECT_TRUE(fs::exists(out / "a"));
  EXPECT_EQ(entries(out.parent_path()), 1);
}

TEST(DraftFolder, LeavesNothingWhenNotPublished) {
  const testing::TemporaryFolder folder;
  {
    DraftFolder draft(folder.path() / "out/");
    std::ofstream(draft.draft() / "a") << "1";
    EXPECT_EQ(entries(folder.path()), 1);
  }
  EXPECT_EQ(entries(folder.path()), 0);
}

TEST(DraftFolder, NeverReplaces) {
  const testing::TemporaryFolder folder;
  const fs::path out = folder.path() / "out";
  {
    DraftFolder draft(out);
    fs::create_directory(out);  // even an empty one that came later
    EXPECT_ERROR(draft.publish(), ErrorKind::kInvalidArgument, "exists");
  }
  EXPECT_EQ(entries(folder.path()), 1);
  EXPECT_ERROR(DraftFolder{out}, ErrorKind::kInvalidArgument, "out' exists");
  EXPECT_ERROR(DraftFolder{"/proc/nowhere/out"}, ErrorKind::kInvalidArgument, "can be written");
}

// NFS and many FUSE file systems do not know RENAME_NOREPLACE, old kernels not even the call.
TEST(DraftFolder, IsPublishedWhereRenamesCannotRefuse) {
  const testing::TemporaryFolder folder;
  const fs::path out = folder.path() / "out";
  for (const int error : {EINVAL, ENOSYS}) {
    const bool ran = testing::with_failing_call(SYS_renameat2, error, [&] {
      DraftFolder draft(out);
      std::ofstream(draft.draft() / "file") << "whole";
      EXPECT_NO_THROW(draft.publish());
      EXPECT_TRUE(fs::exists(out / "file"));
      EXPECT_EQ(entries(folder.path()), 1);
      fs::remove_all(out);
      DraftFolder late(out);
      fs::create_directory(out);
      EXPECT_ERROR(late.publish(), ErrorKind::kInvalidArgument, "exists");
      fs::remove(out);
    });
    if (!ran) GTEST_SKIP() << "the kernel takes no filter of calls";
  }
}

// A killed process leaves its folder; the next one removes that, and none that is in use.
TEST(DraftFolder, RemovesWhatAKilledProcessLeft) {
  const testing::TemporaryFolder folder;
  const fs::path out = folder.path() / "out";
  const pid_t child = ::fork();
  if (child == 0) {
    DraftFolder draft(out);
    ::kill(::getpid(), SIGKILL);
  }
  ::waitpid(child, nullptr, 0);
  EXPECT_EQ(entries(folder.path()), 1);
  DraftFolder first(out);
  EXPECT_EQ(entries(folder.path()), 1);
  DraftFolder second(out);
  EXPECT_EQ(entries(folder.path()), 2);
  EXPECT_TRUE(fs::exists(first.draft()));
}

}  // namespace
}  // namespace fovea

#include "base/file.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include "base/error.h"
#include "support/expect_error.h"
#include "support/temporary_folder.h"

namespace fovea {
namespace {

TEST(File, ReadsBackWhatWasWrittenAtomically) {
  const testing::TemporaryFolder folder;
  const auto path = folder.path() / "a.txt";
  write_file_atomic(path, "one");
  write_file_atomic(path, std::string("two\0three", 9));
  EXPECT_EQ(read_file(path), std::string("two\0three", 9));
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder.path()), {}), 1);
}

TEST(File, MissingFilesFoldersAndLimitsAreErrors) {
  const testing::TemporaryFolder folder;
  EXPECT_ERROR(read_file(folder.path() / "none"), ErrorKind::kNotFound, "none");
  EXPECT_ERROR(read_file(folder.path()), ErrorKind::kInvalidArgument, "folder");
  const auto path = folder.write("five", "12345");
  EXPECT_EQ(read_file(path, 5), "12345");
  EXPECT_ERROR(read_file(path, 4), ErrorKind::kTooLarge, "at most 4 bytes");
  EXPECT_ERROR(write_file_atomic(folder.path() / "no" / "where", "x"), ErrorKind::kNotFound,
               "there is no");
}

TEST(File, NamesThatCannotBeOpenedAreTheCallersToMend) {
  const testing::TemporaryFolder folder;
  const auto loop = folder.path() / "loop";
  std::filesystem::create_symlink(loop, loop);
  EXPECT_ERROR(read_file(loop), ErrorKind::kInvalidArgument, "expected a file that can be read");
  EXPECT_ERROR(read_file(folder.path() / std::string(300, 'n')), ErrorKind::kInvalidArgument,
               "expected a file that can be read");
  EXPECT_ERROR(read_file(folder.write("file", "x") / "below"), ErrorKind::kInvalidArgument,
               "expected a file that can be read");
  EXPECT_ERROR(MappedFile::open("/dev/null"), ErrorKind::kInvalidArgument, "a pipe or a device");
}

TEST(File, MappingAPipeDoesNotWaitForAWriter) {
  const testing::TemporaryFolder folder;
  const auto pipe = folder.path() / "model.safetensors";
  ASSERT_EQ(::mkfifo(pipe.c_str(), 0600), 0);
  EXPECT_ERROR(MappedFile::open(pipe), ErrorKind::kInvalidArgument, "a pipe or a device");
}

TEST(File, DraftsTakeTheirPlaceOrVanish) {
  const testing::TemporaryFolder folder;
  const auto path = folder.write("a.bin", "old");
  { DraftFile(path).write("lost"); }
  EXPECT_EQ(read_file(path), "old");
  DraftFile one(path);
  DraftFile two(path);
  EXPECT_NE(one.draft(), two.draft());
  EXPECT_EQ(one.draft().extension(), ".bin");
  one.write("new");
  one.publish();
  EXPECT_EQ(read_file(path), "new");
}

TEST(File, MapsPrivately) {
  const testing::TemporaryFolder folder;
  const auto path = folder.write("m", "abc");
  const auto mapped = MappedFile::open(path);
  ASSERT_EQ(mapped->size(), 3u);
  mapped->data()[0] = std::byte{'X'};
  EXPECT_EQ(read_file(path), "abc");
  EXPECT_ERROR(MappedFile::open(folder.write("empty", "")), ErrorKind::kInvalidData, "empty");
}

TEST(File, NamesStayInsideTheirFolder) {
  EXPECT_EQ(path_inside("/a", "b/c.safetensors"), "/a/b/c.safetensors");
  for (const char* name : {"", "/etc/passwd", "../b", "b/../../c", ".."}) {
    EXPECT_ERROR(path_inside("/a", name), ErrorKind::kInvalidData, "inside the folder");
  }
}

}  // namespace
}  // namespace fovea

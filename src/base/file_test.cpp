#include "base/file.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include "base/error.h"
#include "support/expect_error.h"
#include "support/resident.h"
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

TEST(InputFile, ReadsWhatIsAskedForUpToItsEnd) {
  const testing::TemporaryFolder folder;
  const auto path = folder.write("ten", "0123456789");
  const auto file = InputFile::open(path);
  ASSERT_TRUE(file);
  EXPECT_EQ(file->size(), 10u);
  std::string bytes(4, '?');
  EXPECT_EQ(file->read_at(3, bytes.data(), 4), 4u);
  EXPECT_EQ(bytes, "3456");
  EXPECT_EQ(file->read_at(8, bytes.data(), 4), 2u);
  EXPECT_EQ(file->read_at(10, bytes.data(), 4), 0u);
  std::filesystem::resize_file(path, 5);  // meanwhile
  EXPECT_EQ(file->read_at(3, bytes.data(), 4), 2u);
}

TEST(InputFile, IsNoPipeAndNoFolder) {
  const testing::TemporaryFolder folder;
  const auto pipe = folder.path() / "pipe";
  ASSERT_EQ(::mkfifo(pipe.c_str(), 0600), 0);
  EXPECT_EQ(InputFile::open(pipe), nullptr);
  EXPECT_ERROR(InputFile::open(folder.path()), ErrorKind::kInvalidArgument, "folder");
  EXPECT_ERROR(InputFile::open(folder.path() / "none"), ErrorKind::kNotFound, "none");
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

TEST(MappedFile, GivesPagesBackAndReadsThemAgain) {
  const testing::TemporaryFolder folder;
  std::string bytes(size_t{1} << 20, 'a');
  bytes.back() = 'z';
  const auto file = MappedFile::open(folder.write("m", bytes));
  const auto sum = [&] {
    size_t total = 0;
    for (const std::byte b : file->bytes()) total += static_cast<size_t>(b);
    return total;
  };
  const size_t before = sum();
  EXPECT_EQ(testing::resident_bytes(file->data()), bytes.size());
  MappedFile::give_back(file->bytes().first(bytes.size() / 2));
  EXPECT_EQ(testing::resident_bytes(file->data()), bytes.size() / 2);
  // Only whole pages go, and nothing of memory that is no file's, or not this file's to its end.
  MappedFile::give_back(file->bytes().subspan(bytes.size() - 100));
  MappedFile::give_back({file->data() + 4096, bytes.size()});
  EXPECT_EQ(testing::resident_bytes(file->data()), bytes.size() / 2);
  std::vector<std::byte> heap(size_t{1} << 20, std::byte{7});
  MappedFile::give_back(heap);
  EXPECT_EQ(std::count(heap.begin(), heap.end(), std::byte{7}), 1 << 20);
  EXPECT_EQ(sum(), before);
}

TEST(MappedFile, ReadsAheadToItsEnd) {
  const testing::TemporaryFolder folder;
  const auto file = MappedFile::open(folder.write("big", std::string((size_t{9} << 20) + 5, 'x')));
  std::vector<size_t> told;
  const auto bytes = file->bytes().subspan(3);
  MappedFile::read_ahead(bytes, [&](size_t done) { told.push_back(done); });
  EXPECT_EQ(told, (std::vector<size_t>{4 << 20, 8 << 20, bytes.size()}));
  EXPECT_EQ(MappedFile::cached(bytes), bytes.size());
  // It is in the system's cache; this process's page tables have what was waited for.
  EXPECT_LT(testing::resident_bytes(file->data()), bytes.size() / 2);
}

}  // namespace
}  // namespace fovea

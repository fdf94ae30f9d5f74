#include "generate/cold_start.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "base/file.h"
#include "support/temporary_folder.h"

namespace fovea::generate {
namespace {

struct Told {
  std::vector<size_t> done;
  size_t total = 0;
  ReadProgress sink() {
    return [this](size_t bytes, size_t all) {
      done.push_back(bytes);
      total = all;
    };
  }
};

TEST(ReadCold, LeavesWhatIsCached) {
  const testing::TemporaryFolder folder;
  const auto file = MappedFile::open(folder.write("w", std::string(size_t{8} << 20, 'x')));
  Told told;
  read_cold({file->bytes()}, told.sink());
  EXPECT_TRUE(told.done.empty());
}

TEST(ReadCold, ReadsEachStretchOnceAndToItsEnd) {
  const testing::TemporaryFolder folder;
  const auto path = folder.write("w", std::string(size_t{16} << 20, 'x'));
  const int fd = ::open(path.c_str(), O_RDONLY);
  ::fsync(fd);
  ::posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
  ::close(fd);
  const auto file = MappedFile::open(path);
  const auto bytes = file->bytes();
  if (MappedFile::cached(bytes) > 0) GTEST_SKIP() << "this file system forgets no file";
  // Neighbours in any order, some of them twice, and one that stands apart.
  const size_t mega = size_t{1} << 20;
  Told told;
  read_cold({bytes.subspan(2 * mega, mega), bytes.subspan(0, 2 * mega), bytes.subspan(mega, mega),
             bytes.subspan(9 * mega, 5 * mega)},
            told.sink());
  EXPECT_EQ(told.total, 8 * mega);
  EXPECT_EQ(told.done, (std::vector<size_t>{3 * mega, 7 * mega, 8 * mega}));
  EXPECT_EQ(MappedFile::cached(bytes.subspan(9 * mega, 5 * mega)), 5 * mega);
}

}  // namespace
}  // namespace fovea::generate

// Sources of media; those of the web are in fetch_test.cpp.
#include "media/source.h"

#include <gtest/gtest.h>

#include <sys/stat.h>

#include <atomic>
#include <filesystem>
#include <thread>

#include "base/printable.h"
#include "support/expect_error.h"
#include "support/temporary_folder.h"

namespace fovea::media {
namespace {

namespace fs = std::filesystem;

std::string bytes_of(const std::string& source,
                     const SourcePolicy& policy = SourcePolicy::command_line()) {
  return load_media(source, policy).bytes;
}

TEST(MediaSource, ReadsDataUrisAndPaths) {
  EXPECT_EQ(bytes_of("data:image/png;base64,aGVsbG8="), "hello");
  EXPECT_EQ(bytes_of("data:;base64,aGVs\nbG8"), "hello");
  EXPECT_EQ(bytes_of("data:text/plain,a%20b"), "a b");
  const testing::TemporaryFolder folder;
  const auto path = folder.write("a b", "bytes");
  EXPECT_EQ(bytes_of(path.string()), "bytes");
  EXPECT_EQ(bytes_of("file://" + folder.path().string() + "/a%20b"), "bytes");
  EXPECT_ERROR(bytes_of("data:image/png;base64"), ErrorKind::kInvalidData, "no comma");
  EXPECT_ERROR(bytes_of("data:;base64,!!"), ErrorKind::kInvalidData, "not base64");
  EXPECT_ERROR(bytes_of("data:,%4"), ErrorKind::kInvalidData, "data: URI but got a broken %");
  EXPECT_ERROR(bytes_of("file:///a/100%.png"), ErrorKind::kInvalidData,
               "file: URL but got a broken %");
  EXPECT_EQ(bytes_of("DATA:image/png;base64,aGVsbG8="), "hello");
  EXPECT_EQ(bytes_of("File://" + path.parent_path().string() + "/a%20b"), "bytes");
  for (const char* address : {"ftp://example.org/a.png", "s3://bucket/a.png"}) {
    EXPECT_ERROR(bytes_of(address), ErrorKind::kUnsupported, "address");
  }
  const auto colon = folder.write("a:b", "colon");
  EXPECT_EQ(bytes_of(colon.string()), "colon");
  EXPECT_ERROR(bytes_of("shot: 1.png"), ErrorKind::kNotFound, "shot: 1.png");
  EXPECT_ERROR(bytes_of((folder.path() / "none").string()), ErrorKind::kNotFound, "none");
}

TEST(MediaSource, FileUrlsNameThisMachine) {
  const testing::TemporaryFolder folder;
  const std::string path = folder.write("a.png", "bytes").string();
  for (const char* start : {"file:", "file://", "file://localhost", "FILE://LocalHost"}) {
    EXPECT_EQ(bytes_of(start + path), "bytes") << start;
  }
  EXPECT_EQ(bytes_of("file:" + path.substr(0, path.size() - 5) + "%61.png"), "bytes");
  for (const std::string host : {"example.org", "127.0.0.1", "localhost:80", "me@localhost",
                                 "%6cocalhost", "localhost.", "."}) {
    EXPECT_ERROR(bytes_of("file://" + host + path), ErrorKind::kNotFound,
                 "a file: URL of this machine but got the host '" + host + "'");
  }
  EXPECT_ERROR(bytes_of("file://a.png"), ErrorKind::kNotFound, "got the host 'a.png'");
  for (const char* end : {"%00", "%00.txt", "%00/b"}) {
    EXPECT_ERROR(bytes_of("file://" + path + end), ErrorKind::kNotFound,
                 "a file: URL without a %00");
  }
}

TEST(MediaSource, HoldsItsLimit) {
  std::string uri = "data:,";
  uri.resize(kDataUriBytesMax - 1, 'x');
  EXPECT_EQ(open_source(uri, SourcePolicy::strangers(), kDataUriBytesMax).bytes.size(),
            uri.size() - 6);
  uri.push_back('x');
  EXPECT_NO_THROW(open_source(uri, SourcePolicy::strangers(), kDataUriBytesMax));
  uri.push_back('x');
  EXPECT_ERROR(bytes_of(uri), ErrorKind::kTooLarge, "at most 134217728 bytes");
  uri.resize(6 + kPictureBytesMax, 'x');
  EXPECT_EQ(bytes_of(uri).size(), kPictureBytesMax);
  uri.push_back('x');
  EXPECT_ERROR(bytes_of(uri), ErrorKind::kTooLarge, "at most 67108864 bytes in the data: URI");
}

TEST(MediaSource, KeepsToThePolicy) {
  const testing::TemporaryFolder folder;
  const auto path = folder.write("a.png", "bytes");
  const auto strangers = SourcePolicy::strangers();
  EXPECT_EQ(bytes_of("data:,a", strangers), "a");
  for (const std::string& source :
       {path.string(), "file://" + path.string(), std::string("/none"), std::string("-"),
        std::string("https://example.org/a.png"), std::string("http://127.0.0.1/")}) {
    EXPECT_ERROR(bytes_of(source, strangers), ErrorKind::kUnsupported, "that is allowed");
  }
  EXPECT_ERROR(bytes_of("http://127.0.0.1/", SourcePolicy::own_files()), ErrorKind::kUnsupported,
               "that is allowed");
}

const std::vector<std::string> kOutside = {"",
                                           ".",
                                           "/",
                                           "..",
                                           "in",
                                           "in/",
                                           "in/a.png/",
                                           "in/a.png/x",
                                           "none",
                                           "in/none",
                                           "pipe",
                                           "link",
                                           "up/secret",
                                           "within/a.png",
                                           "in/../in/a.png",
                                           "/etc/passwd",
                                           "/proc/self/environ",
                                           "/dev/zero",
                                           "//etc/passwd",
                                           "file:///etc/passwd",
                                           "file:/etc/passwd",
                                           "file://host/etc/passwd",
                                           "file:///%2e%2e/secret",
                                           "in/a.png%00",
                                           "file:in/a.png%00.txt",
                                           "~/a.png",
                                           "\\\\host\\share"};

TEST(MediaSource, OpensFilesBeneathARootAlone) {
  const testing::TemporaryFolder folder;
  const fs::path root = folder.path() / "root";
  folder.write("root/in/a.png", "inside");
  folder.write("root/.hidden", "hidden");
  folder.write("root-other/a.png", "outside");
  const auto secret = folder.write("secret", "outside");
  fs::create_symlink(secret, root / "link");
  fs::create_symlink(folder.path(), root / "up");
  fs::create_symlink("in", root / "within");
  ASSERT_EQ(::mkfifo((root / "pipe").c_str(), 0600), 0);
  SourcePolicy policy;
  policy.files = true;
  policy.root = root;
  const std::string top = root.string();
  for (const std::string& good :
       {std::string("in/a.png"), top + "/in/a.png", "file://" + top + "/in/a.png",
        std::string("./in/./a.png"), std::string("in//a.png")}) {
    EXPECT_EQ(bytes_of(good, policy), "inside") << good;
  }
  EXPECT_EQ(bytes_of(".hidden", policy), "hidden");
  std::vector<std::string> bad = {top,
                                  top + "/",
                                  top + "-other/a.png",
                                  top + "/../secret",
                                  top + "/in/../../secret",
                                  secret.string(),
                                  std::string(5000, 'a'),
                                  std::string(3000, '/') + "etc/passwd",
                                  std::string("in/a.png\0x", 10)};
  bad.insert(bad.end(), kOutside.begin(), kOutside.end());
  std::string step;
  for (int depth = 1; depth <= 40; ++depth) {
    step += "../";
    bad.push_back(step + "secret");
    bad.push_back("in/" + step + "secret");
  }
  ASSERT_GE(bad.size(), 100u);
  for (const auto& source : bad) {
    // The same sentence for what is not there and what is forbidden.
    const auto colon = source.find("file:") == 0;
    try {
      bytes_of(source, policy);
      ADD_FAILURE() << source;
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::kNotFound) << source;
      if (!colon) {
        EXPECT_EQ(std::string(error.what()),
                  "[file] expected a file that may be read but got '" + printable(source) + "'");
      }
    }
  }
}

TEST(MediaSource, NeverFollowsALinkThatIsSwappedIn) {
  const testing::TemporaryFolder folder;
  folder.write("root/d/a.png", "inside");
  folder.write("out/a.png", "outside");
  const fs::path at = folder.path() / "root" / "d";
  const fs::path kept = folder.path() / "root" / "kept";
  SourcePolicy policy;
  policy.files = true;
  policy.root = folder.path() / "root";
  std::atomic<bool> done{false};
  std::thread swapper([&] {
    while (!done) {
      fs::rename(at, kept);
      fs::create_symlink("../out", at);
      fs::remove(at);
      fs::rename(kept, at);
    }
  });
  int read = 0;
  for (int i = 0; i < 20'000; ++i) {
    try {
      EXPECT_EQ(bytes_of("d/a.png", policy), "inside");
      ++read;
    } catch (const Error&) {
    }
  }
  done = true;
  swapper.join();
  EXPECT_GT(read, 0);
}

}  // namespace
}  // namespace fovea::media

// Pictures that `fovea generate` takes from the web, from a server on this machine.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/file.h"
#include "base/json.h"
#include "support/command_line.h"
#include "support/local_server.h"
#include "support/source_path.h"
#include "support/temporary_folder.h"

namespace fovea {
namespace {

using testing::expect_refused;
using testing::fovea;
using ::testing::HasSubstr;
using testing::LocalServer;
using testing::Outcome;

class SourceCommands : public ::testing::Test {
 protected:
  SourceCommands() {
    const std::string picture = read_file(testing::source_path("examples/pictures/cat_dog.png"));
    server_.before([picture](const LocalServer::Request& request) {
      LocalServer::Reply reply{200, picture, {{"Content-Type", "image/png"}}};
      if (request.target == "/slow.png") reply.rate = 100;
      return reply;
    });
    for (const char* name : {"http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"}) {
      ::unsetenv(name);
    }
  }
  std::string url(const std::string& path) const { return server_.address() + path; }
  std::string host() const { return fmt::format("127.0.0.1:{}", server_.port()); }

  LocalServer server_;
};

TEST_F(SourceCommands, APictureFromTheWebIsTheSamePicture) {
  const std::vector<std::string> ask = {"generate", "--json", "--max-tokens", "4", "--image"};
  auto from_web = ask;
  from_web.insert(from_web.end(), {url("/a.png"), "--allow-private-host", host()});
  auto from_disk = ask;
  from_disk.push_back(testing::source_path("examples/pictures/cat_dog.png").string());
  const Outcome web = fovea(from_web);
  const Outcome disk = fovea(from_disk);
  ASSERT_EQ(web.code, 0) << web.err;
  const Json a = Json::parse(web.out, "web");
  const Json b = Json::parse(disk.out, "disk");
  EXPECT_EQ(a["token_ids"].dump(), b["token_ids"].dump());
  EXPECT_EQ(a["images"].dump(), b["images"].dump());
}

TEST_F(SourceCommands, BoundsAreFlagsAndVariables) {
  const std::vector<std::string> ask = {"generate", "--image", url("/slow.png")};
  expect_refused(ask, "allowed by --allow-private-host");
  EXPECT_TRUE(server_.requests().empty());
  auto allowed = ask;
  allowed.insert(allowed.end(), {"--allow-private-host", "*"});
  auto flagged = allowed;
  flagged.insert(flagged.end(), {"--fetch-seconds", "0.2"});
  expect_refused(flagged, "within 0.2 s");
  expect_refused(testing::shell("FOVEA_FETCH_SECONDS=0.3 " + testing::command_line(allowed)),
                 "within 0.3 s");
  flagged.back() = "0";
  expect_refused(flagged, "[--fetch-seconds] expected");
}

TEST(ClipboardCommand, NeedsADisplay) {
  const std::string ask = testing::command_line({"generate", "--image", "@clipboard"});
  expect_refused(testing::shell("unset DISPLAY WAYLAND_DISPLAY; " + ask), "expected a display");
  expect_refused(testing::shell("unset WAYLAND_DISPLAY; PATH=/nowhere DISPLAY=:9 " + ask),
                 "expected 'xclip' (xclip)");
}

// On a display of its own, gone at the end, and the program that holds the clipboard with it.
TEST(ClipboardCommand, TakesThePictureThatWasCopied) {
  const testing::TemporaryFolder folder;
  const std::string at = folder.path().string();
  const std::string picture = testing::source_path("examples/pictures/cat_dog.png").string();
  const std::string ask =
      testing::command_line({"generate", "--json", "--max-tokens", "2", "--image", "@clipboard"});
  const Outcome outcome = testing::shell(fmt::format(
      "cd {}; unset WAYLAND_DISPLAY; "
      "Xvfb -displayfd 4 -screen 0 64x64x24 -nolisten tcp 4>display 2>/dev/null & server=$!; "
      "for i in $(seq 100); do [ -s display ] && break; sleep 0.1; done; "
      "export DISPLAY=:$(cat display); {} >&2; "
      "xclip -selection clipboard -t image/png -i {} </dev/null >/dev/null 2>&1; {}; code=$?; "
      "kill $server; exit $code",
      at, ask, testing::quoted(picture), ask));
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_THAT(outcome.err, HasSubstr("[media] expected a picture in the clipboard"));
  const Json picture_of = Json::parse(outcome.out, "answer")["images"].at(0);
  EXPECT_EQ(picture_of["format"].as_string(), "png");
  EXPECT_EQ(picture_of["orientation"].as_int(), 1);
}

TEST(PictureReport, TellsWhatWasDone) {
  const auto turned = testing::source_path("tests/fixtures/pillow/files/orientation_6.jpg");
  const auto clear = testing::source_path("tests/fixtures/pillow/files/profile_alpha.png");
  const Outcome outcome = fovea({"generate", "--json", "--verbose", "--max-tokens", "1", "--image",
                                 turned.string(), "--image", clear.string()});
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  const Json images = Json::parse(outcome.out, "answer")["images"];
  EXPECT_EQ(images.at(0)["format"].as_string(), "jpeg");
  EXPECT_EQ(images.at(0)["orientation"].as_int(), 6);
  EXPECT_EQ(images.at(0)["stored_size"].dump(), R"({"width":48,"height":32})");
  EXPECT_EQ(images.at(0)["original_size"].dump(), R"({"width":32,"height":48})");
  EXPECT_EQ(images.at(1)["changes"].dump(),
            R"(["colours of the profile 'wide test' to sRGB","transparency over white"])");
  EXPECT_THAT(outcome.err, HasSubstr("Picture: jpeg of 48x32, turned from orientation 6; used at"));
  const Outcome stored = fovea({"generate", "--json", "--max-tokens", "1", "--image",
                                clear.string(), "--colours", "stored"});
  EXPECT_EQ(Json::parse(stored.out, "answer")["images"].at(0)["changes"].dump(), "[]");
}

}  // namespace
}  // namespace fovea

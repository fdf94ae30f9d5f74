// Pictures that `fovea generate` takes from the web, from a server on this machine.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/file.h"
#include "base/json.h"
#include "support/command_line.h"
#include "support/local_server.h"
#include "support/source_path.h"

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

}  // namespace
}  // namespace fovea

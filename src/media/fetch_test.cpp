// Media from the web, against a server on this machine that misbehaves.
#include "media/fetch.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>

#include "base/http_client.h"
#include "media/source.h"
#include "support/expect_error.h"
#include "support/hub_environment.h"
#include "support/local_server.h"
#include "support/temporary_folder.h"

namespace fovea::media {
namespace {

using testing::LocalServer;

std::string bytes_of(const std::string& source, const SourcePolicy& policy) {
  return load_media(source, policy).bytes;
}

class Web : public ::testing::Test {
 protected:
  Web() {
    server_.before([](const LocalServer::Request& request) -> std::optional<LocalServer::Reply> {
      if (request.target == "/a.png") return LocalServer::Reply{200, "picture"};
      return std::nullopt;
    });
    policy_.http = true;
    policy_.private_hosts = {fmt::format("127.0.0.1:{}", server_.port())};
    policy_.fetch_seconds = 20;
  }

  void reply(LocalServer::Reply reply) {
    server_.before([reply](const auto&) { return reply; });
  }
  std::string get(const std::string& path = "/a.png") const {
    return bytes_of(server_.address() + path, policy_);
  }

  testing::TemporaryFolder folder_;
  testing::HubEnvironment environment_{folder_.path()};  // without proxies
  LocalServer server_;
  SourcePolicy policy_;
};

TEST_F(Web, GivesBytes) {
  EXPECT_EQ(get(), "picture");
  EXPECT_EQ(get("/a.png#part"), "picture");
  const auto request = server_.requests().front();
  EXPECT_EQ(request.headers.at("accept-encoding"), "identity");
  EXPECT_ERROR(get("/none"), ErrorKind::kNotFound, "status 404");
  reply({500, ""});
  EXPECT_ERROR(get(), ErrorKind::kIo, "status 500");
  reply({403, ""});
  EXPECT_ERROR(get(), ErrorKind::kIo, "status 403");
  reply({204, ""});
  EXPECT_ERROR(get(), ErrorKind::kIo, "status 204");
}

TEST_F(Web, TakesWhatCanBeAMedium) {
  for (const char* type : {"image/png", "IMAGE/JPEG; q=1", "video/mp4", "audio/x-wav",
                           "application/octet-stream", "application/pdf"}) {
    reply({200, "picture", {{"Content-Type", type}}});
    EXPECT_EQ(get(), "picture") << type;
  }
  for (const char* type : {"text/html", "text/html; charset=utf-8", "application/json",
                           "application/vnd.apple.mpegurl", "multipart/x-mixed-replace", "x/y"}) {
    reply({200, "picture", {{"Content-Type", type}}});
    EXPECT_ERROR(get(), ErrorKind::kInvalidData, "expected a picture, video or sound");
  }
  reply({200, "", {{"Content-Type", "text/html"}}});
  EXPECT_ERROR(get(), ErrorKind::kInvalidData, "expected a picture, video or sound");
  for (const char* encoding : {"gzip", "br", "deflate, gzip", "zstd"}) {
    reply({200, "picture", {{"Content-Encoding", encoding}}});
    EXPECT_ERROR(get(), ErrorKind::kInvalidData, "bytes as they are");
  }
}

TEST_F(Web, HoldsItsSize) {
  policy_.fetch_megabytes = 1;
  constexpr size_t kMost = size_t{1} << 20;
  reply({200, std::string(kMost, 'x')});
  EXPECT_EQ(get().size(), kMost);
  reply({200, std::string(kMost + 1, 'x')});
  EXPECT_ERROR(get(), ErrorKind::kTooLarge, "at most 1048576 bytes");
  LocalServer::Reply endless{200, std::string(65536, 'x')};
  endless.endless = true;
  endless.length = "";
  reply(endless);
  EXPECT_ERROR(get(), ErrorKind::kTooLarge, "but got more");
  LocalServer::Reply huge{200, "x"};
  huge.length = "9000000000000000000";
  reply(huge);
  EXPECT_ERROR(get(), ErrorKind::kTooLarge, "but got 9000000000000000000");
  LocalServer::Reply negative{200, "x"};
  negative.length = "-1";
  reply(negative);
  EXPECT_ERROR(get(), ErrorKind::kIo, "expected an answer");
  LocalServer::Reply cut{200, std::string(1000, 'x')};
  cut.cut_at = 500;
  reply(cut);
  EXPECT_ERROR(get(), ErrorKind::kIo, "expected an answer");
}

TEST_F(Web, HoldsItsTime) {
  policy_.fetch_seconds = 0.3;
  LocalServer::Reply drip{200, std::string(100'000, 'x')};
  drip.rate = 1000;
  reply(drip);
  const auto begin = std::chrono::steady_clock::now();
  EXPECT_ERROR(get(), ErrorKind::kTooLarge, "within 0.3 s");
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(5));
}

// As with a machine's own public address, which no table knows.
TEST_F(Web, TellsThatItLeadsHere) {
  HttpRequest request;
  request.url = fmt::format("http://a.example:{}/a.png", server_.port());
  request.resolve = [](const auto&) { return std::vector{*IpAddress::parse("127.0.0.1")}; };
  request.check_address = [](const auto&, const auto&) {};
  std::string asked;
  request.check_own = [&](const HttpTarget& target) {
    asked = target.host;
    fail(ErrorKind::kUnsupported, "not here");
  };
  const auto get_it = [&] {
    return http_get(request, [](const auto&, auto) { return true; }).status;
  };
  EXPECT_ERROR(get_it(), ErrorKind::kUnsupported, "not here");
  EXPECT_EQ(asked, "a.example");
  EXPECT_TRUE(server_.requests().empty());
  request.check_own = [](const auto&) {};
  EXPECT_EQ(get_it(), 200);
}

TEST_F(Web, ChecksEveryRedirect) {
  std::string location;
  server_.before([&](const LocalServer::Request& request) -> std::optional<LocalServer::Reply> {
    if (request.target == "/a.png") return LocalServer::Reply{200, "picture"};
    const int left = request.target[1] - '0';
    const std::string next = left == 0 ? location : fmt::format("/{}", left - 1);
    return LocalServer::Reply{302, "elsewhere", {{"Location", next}}};
  });
  location = "a.png";
  EXPECT_EQ(get("/0"), "picture");
  EXPECT_EQ(get("/2"), "picture");
  EXPECT_ERROR(get("/3"), ErrorKind::kInvalidData, "within 3 redirects");
  LocalServer canary;
  for (const std::string& bad :
       {canary.address(), fmt::format("http://localhost:{}/", canary.port()),
        fmt::format("http://[::ffff:127.0.0.1]:{}/", canary.port()),
        fmt::format("http://2130706433:{}/", canary.port()),
        std::string("http://169.254.169.254/latest/meta-data"), std::string("http://[::1]/"),
        std::string("//10.0.0.1/")}) {
    location = bad;
    EXPECT_ERROR(get("/1"), ErrorKind::kUnsupported, "expected");
  }
  for (const char* bad : {"file:///etc/passwd", "ftp://example.org/", "gopher://x/", "data:,a",
                          "javascript:1", "http:", "http://", "https:///a"}) {
    location = bad;
    EXPECT_THROW(get("/0"), Error) << bad;
  }
  EXPECT_TRUE(canary.requests().empty());
}

TEST_F(Web, LooksANameUpOnceAndConnectsToWhatWasChecked) {
  LocalServer canary;
  std::atomic<int> asked{0};
  // The first answer is harmless and has no listener; a second would lead to the canary.
  policy_.resolve = [&](const std::string& name) -> std::vector<IpAddress> {
    EXPECT_EQ(name, "rebind.example");
    if (asked++ == 0) return {*IpAddress::parse("192.0.2.1")};
    return {*IpAddress::parse("127.0.0.1")};
  };
  policy_.fetch_seconds = 0.2;
  policy_.private_hosts = {"rebind.example"};
  EXPECT_THROW(bytes_of(fmt::format("http://rebind.example:{}/", canary.port()), policy_), Error);
  EXPECT_EQ(asked, 1);
  EXPECT_TRUE(canary.requests().empty());
  // A name with both kinds of addresses is refused before any is connected to.
  policy_.private_hosts = {};
  policy_.resolve = [](const std::string&) -> std::vector<IpAddress> {
    return {*IpAddress::parse("8.8.8.8"), *IpAddress::parse("127.0.0.1")};
  };
  EXPECT_ERROR(bytes_of(fmt::format("http://two.example:{}/", canary.port()), policy_),
               ErrorKind::kUnsupported, "this machine's");
  EXPECT_TRUE(canary.requests().empty());
  policy_.resolve = [](const std::string&) -> std::vector<IpAddress> {
    return {*IpAddress::parse("127.0.0.1")};
  };
  policy_.private_hosts = {"good.example"};
  EXPECT_EQ(bytes_of(fmt::format("http://good.example:{}/a.png", server_.port()), policy_),
            "picture");
}

TEST_F(Web, AsksListedHostsAlone) {
  policy_.private_hosts = {"*"};
  policy_.resolve = [](const std::string&) -> std::vector<IpAddress> {
    return {*IpAddress::parse("127.0.0.1")};
  };
  policy_.hosts = {"a.example", ".b.example"};
  const auto url = [&](const std::string& host) {
    return fmt::format("http://{}:{}/a.png", host, server_.port());
  };
  for (const char* host : {"a.example", "A.EXAMPLE", "x.b.example", "y.x.b.example"}) {
    EXPECT_EQ(bytes_of(url(host), policy_), "picture") << host;
  }
  for (const char* host : {"b.example", "x.a.example", "ca.example", "a.example.org", "127.0.0.1",
                           "xb.example", "a.example."}) {
    EXPECT_ERROR(bytes_of(url(host), policy_), ErrorKind::kUnsupported, "host that is allowed");
  }
}

// Forms by which an address of this machine has been smuggled past other programs' checks.
const std::vector<const char*> kSmuggledHosts = {"localhost",
                                                 "LOCALHOST",
                                                 "127.0.0.1",
                                                 "127.1",
                                                 "127.0.1",
                                                 "127.255.255.254",
                                                 "0",
                                                 "0.0.0.0",
                                                 "0x7f000001",
                                                 "0X7F000001",
                                                 "0x7f.1",
                                                 "0x7f.0x0.0x0.0x1",
                                                 "017700000001",
                                                 "0177.0.0.1",
                                                 "0177.0.0.01",
                                                 "00000177.1",
                                                 "2130706433",
                                                 "4294967295",
                                                 "127.0.0.1.",
                                                 "localhost.",
                                                 "%31%32%37.0.0.1",
                                                 "127%2e0%2e0%2e1",
                                                 "127.0.0.%31",
                                                 "%6cocalhost",
                                                 "[::1]",
                                                 "[::]",
                                                 "[0:0:0:0:0:0:0:1]",
                                                 "[::ffff:127.0.0.1]",
                                                 "[::ffff:7f00:1]",
                                                 "[::127.0.0.1]",
                                                 "[64:ff9b::127.0.0.1]",
                                                 "[64:ff9b::7f00:1]",
                                                 "[2002:7f00:1::]",
                                                 "[2001:0:7f00:1::]",
                                                 "[fe80::1]",
                                                 "[fe80::1%25lo]",
                                                 "[fc00::1]",
                                                 "[fd12:3456::1]",
                                                 "[ff02::1]",
                                                 "[v1.127.0.0.1]",
                                                 "10.0.0.1",
                                                 "10.255.255.255",
                                                 "172.16.0.1",
                                                 "172.31.255.255",
                                                 "192.168.0.1",
                                                 "192.168.1.1",
                                                 "169.254.169.254",
                                                 "169.254.0.1",
                                                 "100.64.0.1",
                                                 "100.127.255.255",
                                                 "198.18.0.1",
                                                 "192.0.0.192",
                                                 "192.0.2.1",
                                                 "198.51.100.1",
                                                 "203.0.113.1",
                                                 "224.0.0.1",
                                                 "239.255.255.250",
                                                 "240.0.0.1",
                                                 "255.255.255.255",
                                                 "0251.254.169.254",
                                                 "0xa9fea9fe",
                                                 "2852039166",
                                                 "169.254.43518",
                                                 "0xa9.0xfe.0xa9.0xfe",
                                                 "user@127.0.0.1",
                                                 "user:pass@127.0.0.1",
                                                 "good.example@127.0.0.1",
                                                 "127.0.0.1:80@8.8.8.8",
                                                 "8.8.8.8@127.0.0.1",
                                                 "1.1.1.1 &@127.0.0.1",
                                                 "127.0.0.1\t",
                                                 " 127.0.0.1",
                                                 "127.0.0.1 ",
                                                 "\xe2\x91\xa0\xe2\x91\xa1\xe2\x91\xa6.0.0.1",
                                                 "\xef\xbc\x91\xef\xbc\x92\xef\xbc\x97.0.0.1",
                                                 "127\xe3\x80\x82"
                                                 "0.0.1",
                                                 "l\xc3\xb6"
                                                 "calhost",
                                                 "127.0.0.1\\@8.8.8.8",
                                                 "8.8.8.8\\@127.0.0.1",
                                                 "127.0.0.1\\.8.8.8.8",
                                                 "0x",
                                                 "0x7f",
                                                 "1.0x7f"};
const std::vector<const char*> kSmuggledForms = {"http:/127.0.0.1:{}/",
                                                 "http:127.0.0.1:{}/",
                                                 "http:\\\\127.0.0.1:{}/",
                                                 "http:///127.0.0.1:{}/",
                                                 "http://127.0.0.1:{}\\@8.8.8.8/",
                                                 "http://127.0.0.1:0{}/",
                                                 "http://[127.0.0.1]:{}/",
                                                 "http://127.0.0.1:{}:80/",
                                                 "http://:{}/",
                                                 "http://?@127.0.0.1:{}/",
                                                 "http://#@127.0.0.1:{}/",
                                                 "http:////127.0.0.1:{}/",
                                                 "http://127.0.0.1:{}\r\nX: y/",
                                                 "http://127.0.0.1 :{}/"};

std::vector<std::string> smuggled_urls(int port) {
  std::vector<std::string> urls;
  for (const char* host : kSmuggledHosts) {
    urls.push_back(fmt::format("http://{}:{}/", host, port));
    urls.push_back(fmt::format("http://{}/", host));
  }
  for (const char* form : kSmuggledForms) {
    urls.push_back(fmt::format(fmt::runtime(form), port));
  }
  return urls;
}

TEST_F(Web, RefusesEveryFormOfAPrivateAddress) {
  LocalServer canary;
  policy_.private_hosts = {};
  policy_.fetch_seconds = 2;
  const auto urls = smuggled_urls(canary.port());
  ASSERT_GE(urls.size(), 150u);
  for (const auto& url : urls) {
    EXPECT_THROW(bytes_of(url, policy_), Error) << url;
    // And as a redirect of a host that is allowed.
    policy_.private_hosts = {fmt::format("127.0.0.1:{}", server_.port())};
    reply({302, "", {{"Location", url}}});
    if (url.find('\r') == std::string::npos) {
      EXPECT_THROW(get(), Error) << url;
    }
    policy_.private_hosts = {};
  }
  EXPECT_TRUE(canary.requests().empty());
}

TEST_F(Web, AProxyIsAskedWhereThePolicySaysSo) {
  LocalServer proxy;
  proxy.before([](const LocalServer::Request& request) -> std::optional<LocalServer::Reply> {
    return LocalServer::Reply{200, "by way of " + request.target};
  });
  ::setenv("http_proxy", proxy.address().c_str(), 1);
  EXPECT_EQ(get(), "picture");
  policy_.proxies = true;
  EXPECT_EQ(bytes_of("http://pictures.example/a.png", policy_),
            "by way of http://pictures.example/a.png");
  // What stands in the URL is checked all the same.
  for (const char* bad : {"http://2130706433/", "http://%31.example/", "http://u@a.example/"}) {
    EXPECT_ERROR(bytes_of(bad, policy_), ErrorKind::kUnsupported, "expected");
  }
  EXPECT_ERROR(bytes_of("http://10.0.0.1/", policy_), ErrorKind::kUnsupported, "private");
  EXPECT_ERROR(bytes_of("http://localhost/", policy_), ErrorKind::kUnsupported, "private");
}

}  // namespace
}  // namespace fovea::media

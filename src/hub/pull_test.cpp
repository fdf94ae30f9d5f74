// Against a hub on this machine that misbehaves in every way that hubs do.
#include "hub/pull.h"

#include <gtest/gtest.h>

#include "base/file.h"
#include "core/checkpoint.h"
#include "hub/cache.h"
#include "base/proxy.h"
#include "support/expect_error.h"
#include "support/failing_call.h"
#include "support/hub_environment.h"
#include "support/local_hub.h"
#include "support/temporary_folder.h"

namespace fovea::hub {
namespace {

using testing::LocalHub;
using testing::some_bytes;
namespace fs = std::filesystem;

constexpr const char* kWeights = "model.safetensors";

class Pull : public ::testing::Test {
 protected:
  Pull() {
    hub_.add("config.json", R"({"model_type": "qwen2_vl"})");
    hub_.add("a/b.json", "{}");
    hub_.add("empty.txt", "");
    hub_.add("README.md", "# Name\n");
    hub_.add("pytorch_model.bin", "pickle");
    hub_.add("modeling.py", "code");
    hub_.add(kWeights, weights_);
  }

  Pulled run(PullOptions options = {}, const std::string& revision = "main") {
    options.download.chunk_bytes = 64 << 10;
    return pull(remote(), {"org/name", revision}, options);
  }
  Remote remote() const { return {hub_.address(), "secret"}; }

  fs::path root() const { return cache_.path() / "models--org--name"; }
  fs::path snapshot() const { return root() / "snapshots" / LocalHub::kCommit; }
  fs::path blob() const { return root() / "blobs" / LocalHub::digest(kWeights, weights_); }

  static bool is_weights(const LocalHub::Request& request) {
    return request.target.ends_with(kWeights);
  }

  void expect_nothing_bad() const {
    EXPECT_FALSE(fs::exists(blob()));
    EXPECT_FALSE(fs::exists(fs::symlink_status(snapshot() / kWeights)));
    EXPECT_FALSE(fs::exists(root() / "refs" / "main"));
  }

  testing::TemporaryFolder cache_;
  testing::HubEnvironment environment_{cache_.path()};
  std::string weights_ = some_bytes(1'000'003);
  LocalHub hub_;
};

TEST_F(Pull, WritesTheLayoutThatOtherProgramsShare) {
  const Pulled pulled = run();
  EXPECT_EQ(pulled.commit, LocalHub::kCommit);
  EXPECT_EQ(pulled.files, 4);  // no pickle, no code, nothing below the root
  EXPECT_EQ(pulled.bytes_received, pulled.bytes);
  EXPECT_EQ(read_file(root() / "refs" / "main"), LocalHub::kCommit);
  EXPECT_EQ(fs::read_symlink(snapshot() / kWeights),
            fs::path("../../blobs") / LocalHub::digest(kWeights, weights_));
  EXPECT_EQ(read_file(snapshot() / kWeights), weights_);
  EXPECT_EQ(fs::file_size(snapshot() / "empty.txt"), 0u);
  EXPECT_EQ(open_checkpoint("org/name").model_type(), "qwen2_vl");
  for (const auto& file : cached_files({"org/name"})) EXPECT_EQ(check(file), Health::kGood);
  for (const auto& entry : fs::directory_iterator(root() / "blobs")) {
    EXPECT_EQ(entry.path().extension(), "") << entry.path();
  }
}

TEST_F(Pull, TakesSeveralRangesAtOnceAndNothingTwice) {
  run();
  int ranges = 0;
  for (const auto& request : hub_.requests()) ranges += is_weights(request);
  EXPECT_GE(ranges, 4);
  EXPECT_EQ(hub_.bytes_sent(kWeights), weights_.size());
  const size_t requests = hub_.requests().size();
  EXPECT_EQ(run().bytes_received, 0);
  EXPECT_EQ(hub_.bytes_sent(kWeights), weights_.size());
  EXPECT_LT(hub_.requests().size(), 2 * requests);
}

TEST_F(Pull, IncludesAreShellPatternsAndNeverPickles) {
  const Pulled pulled = run({.include = {"a/*", "*.bin", "modeling*"}});
  EXPECT_EQ(pulled.files, 1);
  EXPECT_EQ(fs::read_symlink(snapshot() / "a/b.json").parent_path(), "../../../blobs");
  EXPECT_ERROR(run({.include = {"*.gguf"}}), ErrorKind::kNotFound, "match *.gguf");
}

TEST_F(Pull, ARevisionIsPinned) {
  run({}, LocalHub::kCommit);
  EXPECT_FALSE(fs::exists(root() / "refs" / LocalHub::kCommit));
  EXPECT_EQ(open_checkpoint(std::string("org/name@") + LocalHub::kCommit).model_type(), "qwen2_vl");
  EXPECT_ERROR(run({}, "v9"), ErrorKind::kNotFound, "'org/name' with a revision 'v9'");
}

TEST_F(Pull, GoesOnAfterConnectionsThatEndEarly) {
  std::atomic<int> cuts{0};
  hub_.after([&](const auto& request, LocalHub::Reply& reply) {
    if (is_weights(request) && cuts++ < 8) reply.cut_at = 50'000;
  });
  run();
  EXPECT_GE(cuts, 8);
  EXPECT_EQ(read_file(snapshot() / kWeights), weights_);
  // Bytes that came are not asked for again, but for what was under way.
  EXPECT_LT(hub_.bytes_sent(kWeights), weights_.size() + 8 * 65536);
}

TEST_F(Pull, BytesWithAnotherHashNeverGetTheName) {
  hub_.after([&](const auto& request, LocalHub::Reply& reply) {
    if (is_weights(request)) reply.body[reply.body.size() / 2] ^= 1;
  });
  EXPECT_ERROR(run(), ErrorKind::kInvalidData, "with the hash");
  expect_nothing_bad();
  hub_.after({});
  run();
  EXPECT_EQ(read_file(snapshot() / kWeights), weights_);
}

TEST_F(Pull, AHeaderWithAnotherHashIsRefused) {
  hub_.after([&](const auto& request, LocalHub::Reply& reply) {
    if (is_weights(request)) reply.headers["X-Linked-Etag"] = '"' + std::string(64, 'b') + '"';
  });
  EXPECT_ERROR(run(), ErrorKind::kInvalidData, "but got bbbb");
  expect_nothing_bad();
}

TEST_F(Pull, LessAndMoreThanWasPromised) {
  hub_.after([&](const auto& request, LocalHub::Reply& reply) {
    if (is_weights(request)) reply.body += "more";
  });
  EXPECT_ERROR(run(), ErrorKind::kInvalidData, "but got more");
  hub_.after([&](const auto& request, LocalHub::Reply& reply) {
    if (is_weights(request)) reply.headers["Content-Range"] = "bytes 0-9/10";
  });
  EXPECT_ERROR(run(), ErrorKind::kInvalidData, "but got 'bytes 0-9/10'");
  expect_nothing_bad();
}

TEST_F(Pull, AServerWithoutRangesIsReadFromTheStart) {
  hub_.before([&](const LocalHub::Request& request) -> std::optional<LocalHub::Reply> {
    if (!is_weights(request)) return std::nullopt;
    return LocalHub::Reply{200, weights_};
  });
  run();
  EXPECT_EQ(read_file(snapshot() / kWeights), weights_);
}

// The first stream ends behind its own range, when the others have left theirs.
TEST_F(Pull, AServerWithoutRangesThatCutsIsAskedForTheRest) {
  std::atomic<int> asked{0};
  hub_.before([&](const LocalHub::Request& request) -> std::optional<LocalHub::Reply> {
    if (!is_weights(request)) return std::nullopt;
    LocalHub::Reply reply{200, weights_};
    if (asked++ < 5) reply.cut_at = 600'000;
    return reply;
  });
  PullOptions options;
  // It would shrink if all that came were thrown away because of the holes.
  options.progress = [last = int64_t{0}](int64_t here, int64_t all) mutable {
    EXPECT_LE(here, all);
    EXPECT_GE(here, last);
    last = here;
  };
  run(options);
  EXPECT_EQ(read_file(snapshot() / kWeights), weights_);
}

TEST_F(Pull, TheTokenStaysWithItsHost) {
  LocalHub elsewhere;
  elsewhere.before([&](const LocalHub::Request& request) -> std::optional<LocalHub::Reply> {
    const auto range = request.headers.at("range");
    const auto dash = range.find('-');
    const size_t begin = std::stoul(range.substr(6, dash - 6));
    const size_t end = std::stoul(range.substr(dash + 1)) + 1;
    return LocalHub::Reply{
        206,
        weights_.substr(begin, end - begin),
        {{"Content-Range", fmt::format("bytes {}-{}/{}", begin, end - 1, weights_.size())}}};
  });
  hub_.before([&](const LocalHub::Request& request) -> std::optional<LocalHub::Reply> {
    EXPECT_EQ(request.headers.at("authorization"), "Bearer secret");
    if (!is_weights(request)) return std::nullopt;
    return LocalHub::Reply{302, "", {{"Location", elsewhere.address() + "/signed?key=1"}}};
  });
  run();
  EXPECT_EQ(read_file(snapshot() / kWeights), weights_);
  EXPECT_FALSE(elsewhere.requests().empty());
  for (const auto& request : elsewhere.requests()) {
    EXPECT_FALSE(request.headers.contains("authorization"));
  }
}

TEST_F(Pull, RelativeRedirectsStayAndEndlessOnesEnd) {
  hub_.before([&](const LocalHub::Request& request) -> std::optional<LocalHub::Reply> {
    const std::string old = "/api/models/org/name/revision/main";
    if (request.target != old) return std::nullopt;
    return LocalHub::Reply{
        307, "", {{"Location", std::string("/api/models/org/name/revision/") + LocalHub::kCommit}}};
  });
  EXPECT_EQ(run().commit, LocalHub::kCommit);
  hub_.before([&](const LocalHub::Request& request) -> std::optional<LocalHub::Reply> {
    return LocalHub::Reply{302, "", {{"Location", request.target}}};
  });
  EXPECT_ERROR(run(), ErrorKind::kInvalidData, "within 5 redirects");
}

TEST_F(Pull, WaitsAsLongAsItIsToldAndTriesAgain) {
  std::atomic<int> refused{0};
  hub_.before([&](const LocalHub::Request& request) -> std::optional<LocalHub::Reply> {
    if (!is_weights(request) || refused++ > 0) return std::nullopt;
    return LocalHub::Reply{429, "", {{"Retry-After", "1"}}};
  });
  const auto begin = std::chrono::steady_clock::now();
  run({.download = {.connections = 1}});
  EXPECT_GE(std::chrono::steady_clock::now() - begin, std::chrono::seconds(1));
  EXPECT_EQ(read_file(snapshot() / kWeights), weights_);
}

TEST_F(Pull, WaitsAreNumbersOrDatesAndHaveAnEnd) {
  const RemoteFile file{kWeights, static_cast<int64_t>(weights_.size()),
                        LocalHub::digest(kWeights, weights_)};
  const auto asked = [&](const std::string& wait, const std::string& date) {
    hub_.before([=](const auto&) {
      LocalHub::Reply reply{503, ""};
      if (!wait.empty()) reply.headers["Retry-After"] = wait;
      if (!date.empty()) reply.headers["Date"] = date;
      return reply;
    });
    try {
      remote().read("org/name", LocalHub::kCommit, file, 0, file.bytes,
                    [](auto, auto) { return true; });
    } catch (const PassingError& error) {
      return error.wait_s();
    }
    return -2;
  };
  const std::string now = "Sun, 06 Nov 1994 08:49:37 GMT";
  EXPECT_EQ(asked("7", now), 7);
  EXPECT_EQ(asked("301", now), 300);
  EXPECT_EQ(asked("99999999999999999999", now), 300);
  EXPECT_EQ(asked("Sun, 06 Nov 1994 08:51:07 GMT", now), 90);
  EXPECT_EQ(asked("Mon, 07 Nov 1994 08:49:37 GMT", now), 300);
  EXPECT_EQ(asked("Sun, 06 Nov 1994 08:49:36 GMT", now), 0);
  EXPECT_EQ(asked("Fri, 01 Jan 2100 00:00:00 GMT", ""), 300);  // by the clock here
  for (const char* none : {"", "soon", "-1", "1.5", "06 Nov 1994"}) {
    EXPECT_EQ(asked(none, now), -1) << none;
  }
}

// File systems without locks answer at once and always the same.
TEST_F(Pull, LocksThatCannotBeHadAreTold) {
  for (const int error : {ENOLCK, ENOSYS}) {
    const bool ran = testing::with_failing_call(SYS_flock, error, [&] {
      EXPECT_ERROR(BlobLock(cache_.path() / "a.lock", {}), ErrorKind::kIo, "to lock 'a.lock'");
    });
    if (!ran) GTEST_SKIP() << "the kernel takes no filter of calls";
  }
}

TEST_F(Pull, FaultsOfTheServerPassOrAreTold) {
  std::atomic<int> asked{0};
  hub_.before([&](const LocalHub::Request&) -> std::optional<LocalHub::Reply> {
    if (asked++ % 2 == 0) return LocalHub::Reply{503, ""};
    return std::nullopt;
  });
  run();
  EXPECT_EQ(read_file(snapshot() / kWeights), weights_);
  hub_.before([](const auto&) { return LocalHub::Reply{500, "", {{"Retry-After", "0"}}}; });
  EXPECT_ERROR(run(), ErrorKind::kBusy, "but got status 500");
}

TEST_F(Pull, LeaveThatIsMissingIsTold) {
  hub_.before([](const auto&) { return LocalHub::Reply{401, ""}; });
  EXPECT_ERROR(run(), ErrorKind::kInvalidArgument, "set HF_TOKEN");
}

// The header that the hub was sent with the token of the environment.
TEST_F(Pull, TheTokenComesFromTheEnvironmentOrTheFileThatALoginWrote) {
  const auto sent = [&] {
    Remote::from_environment().at(hub_.address()).model({"org/name"}, {});
    const auto headers = hub_.requests().back().headers;
    return headers.contains("authorization") ? headers.at("authorization") : "none";
  };
  const fs::path home = cache_.path() / "home";
  fs::create_directories(home / ".cache/huggingface");
  ::setenv("HOME", home.c_str(), 1);
  EXPECT_EQ(sent(), "none");
  write_file_atomic(home / ".cache/huggingface/token", "of-home\n");
  EXPECT_EQ(sent(), "Bearer of-home");
  ::setenv("HF_HOME", cache_.path().c_str(), 1);
  EXPECT_EQ(sent(), "none");
  write_file_atomic(cache_.path() / "token", "of-hf-home");
  EXPECT_EQ(sent(), "Bearer of-hf-home");
  write_file_atomic(home / "mine", " of-path \n");
  ::setenv("HF_TOKEN_PATH", (home / "mine").c_str(), 1);
  EXPECT_EQ(sent(), "Bearer of-path");
  ::setenv("HUGGING_FACE_HUB_TOKEN", "old", 1);
  EXPECT_EQ(sent(), "Bearer old");
  ::setenv("HF_TOKEN", "of-variable", 1);
  EXPECT_EQ(sent(), "Bearer of-variable");
}

// A hub stands in for the proxy: it is sent whole addresses, and makes its own model of them.
TEST_F(Pull, AProxyIsAskedForWholeAddresses) {
  LocalHub proxy;
  const std::string elsewhere = "http://hub.invalid:81";
  proxy.before([&](const LocalHub::Request& request) -> std::optional<LocalHub::Reply> {
    if (!request.target.starts_with(elsewhere + "/api/models/org/name/revision/main")) {
      return LocalHub::Reply{404, ""};
    }
    return LocalHub::Reply{200, R"({"sha": "x"})"};
  });
  const auto ask = [&] { Remote(elsewhere, "secret").model({"org/name"}, {}); };
  ::setenv("HTTP_PROXY", ("http://me:pass%20word@" + proxy.address().substr(7)).c_str(), 1);
  EXPECT_ERROR(ask(), ErrorKind::kInvalidData, "expected a commit of 'org/name' but got 'x'");
  const auto headers = proxy.requests().back().headers;
  EXPECT_EQ(headers.at("host"), "hub.invalid:81");
  EXPECT_EQ(headers.at("proxy-authorization"), "Basic bWU6cGFzcyB3b3Jk");
  EXPECT_EQ(headers.at("authorization"), "Bearer secret");
  // Only small letters count where strangers may set the others.
  ::setenv("REQUEST_METHOD", "GET", 1);
  EXPECT_EQ(proxy_for("http", "hub.invalid", "81"), "");
  ::unsetenv("REQUEST_METHOD");
  ::setenv("HTTP_PROXY", "socks5://127.0.0.1:1", 1);
  EXPECT_ERROR(ask(), ErrorKind::kInvalidArgument, "an http proxy in the environment");
  ::setenv("HTTP_PROXY", proxy.address().c_str(), 1);
  ::setenv("NO_PROXY", "127.0.0.1", 1);
  EXPECT_EQ(run().commit, LocalHub::kCommit);
}

// TLS to the host begins only when the proxy has let it through.
TEST_F(Pull, AProxyIsAskedForATunnelToHostsOverTls) {
  LocalHub proxy;
  proxy.before([](const auto&) { return LocalHub::Reply{403, ""}; });
  ::setenv("https_proxy", proxy.address().c_str(), 1);
  EXPECT_ERROR(Remote("https://hub.invalid", "secret").model({"org/name"}, {}), ErrorKind::kIo,
               "to reach 'hub.invalid:443' but got status 403");
  EXPECT_EQ(proxy.requests().size(), 1u);
  EXPECT_EQ(proxy.requests()[0].target, "hub.invalid:443");
  EXPECT_FALSE(proxy.requests()[0].headers.contains("authorization"));
  // What follows is a handshake, which this proxy does not know: never the request in clear.
  proxy.before([](const auto&) { return LocalHub::Reply{200, ""}; });
  EXPECT_ERROR(http_get({"https://hub.invalid/", {{"Authorization", "Bearer secret"}}},
                        [](const auto&, auto) { return true; }),
               ErrorKind::kIo, "expected an answer from 'hub.invalid'");
  EXPECT_EQ(proxy.requests().size(), 2u);
}

TEST_F(Pull, WhichHostsNeedNoProxy) {
  ::setenv("all_proxy", "http://p:1", 1);
  ::setenv("https_proxy", "http://q:1", 1);
  ::setenv("no_proxy", "Example.org, .inner, 10.0.0.1,other.net:8443,::1", 1);
  EXPECT_EQ(proxy_for("http", "huggingface.co", "80"), "http://p:1");
  EXPECT_EQ(proxy_for("https", "huggingface.co", "443"), "http://q:1");
  for (const char* host :
       {"example.org", "EXAMPLE.ORG", "cdn.example.org", "a.inner", "10.0.0.1", "::1"}) {
    EXPECT_EQ(proxy_for("https", host, "443"), "") << host;
  }
  EXPECT_EQ(proxy_for("https", "other.net", "8443"), "");
  for (const char* host : {"notexample.org", "10.0.0.11", "other.net", "example.org.evil"}) {
    EXPECT_EQ(proxy_for("https", host, "443"), "http://q:1") << host;
  }
  ::setenv("no_proxy", "*", 1);
  EXPECT_EQ(proxy_for("https", "huggingface.co", "443"), "");
}

TEST_F(Pull, HostileListsAreRefused) {
  const auto with_file = [&](const std::string& entry) {
    hub_.before([entry](const LocalHub::Request& request) -> std::optional<LocalHub::Reply> {
      if (request.target.find("/tree/") == std::string::npos) return std::nullopt;
      return LocalHub::Reply{200, "[" + entry + "]"};
    });
  };
  with_file(R"({"type": "file", "path": "../../x.json", "size": 1, "oid": ")" +
            std::string(40, 'a') + "\"}");
  EXPECT_ERROR(run(), ErrorKind::kInvalidData, "inside the folder");
  with_file(R"({"type": "file", "path": ")" + std::string(5000, 'x') +
            R"(.json", "size": 1, "oid": ")" + std::string(40, 'a') + "\"}");
  EXPECT_ERROR(run(), ErrorKind::kTooLarge, "at most 4096 bytes but got 5005");
  with_file(R"({"type": "file", "path": "x.json", "size": 1, "oid": "../../../x"})");
  EXPECT_ERROR(run(), ErrorKind::kInvalidData, "and a hash of 'x.json'");
  with_file(R"({"type": "file", "path": "x.json", "size": -1, "oid": ")" + std::string(40, 'a') +
            "\"}");
  EXPECT_ERROR(run(), ErrorKind::kInvalidData, "and a hash of 'x.json'");
  with_file(R"({"type": "file", "path": "x.json", "size": 9223372036854775807, "oid": ")" +
            std::string(40, 'a') + "\"}");
  EXPECT_ERROR(run(), ErrorKind::kInvalidData, "a size of at most 1099511627776 bytes");
  hub_.before([](const auto&) { return LocalHub::Reply{200, R"({"sha": "../../x"})"}; });
  EXPECT_ERROR(run(), ErrorKind::kInvalidData, "expected a commit");
  hub_.before([](const auto&) { return LocalHub::Reply{200, "<html>"}; });
  EXPECT_ERROR(run(), ErrorKind::kInvalidData, "expected JSON");
  with_file(R"({"type": "file", "path": "x.bin", "size": 1, "oid": ")" + std::string(40, 'a') +
            "\"}");
  EXPECT_ERROR(run(), ErrorKind::kUnsupported, "only pickled");
}

// A list that was cut would make half a snapshot look whole.
TEST_F(Pull, ListsWithoutEndAreRefused) {
  hub_.before([](const LocalHub::Request& request) -> std::optional<LocalHub::Reply> {
    if (request.target.find("/tree/") == std::string::npos) return std::nullopt;
    return LocalHub::Reply{
        200, "[]", {{"Link", fmt::format("<{}>; rel=\"next\"", request.target)}}};
  });
  EXPECT_ERROR(run(), ErrorKind::kTooLarge, "with at most 1000 pages but got more");
  hub_.before([](const LocalHub::Request& request) -> std::optional<LocalHub::Reply> {
    if (request.target.find("/tree/") == std::string::npos) return std::nullopt;
    const std::string entry = fmt::format(
        R"({{"type": "file", "path": "x", "size": 1, "oid": "{}"}})", std::string(40, 'a'));
    std::string list = "[" + entry;
    for (int i = 0; i < 100'000; ++i) list += "," + entry;
    return LocalHub::Reply{200, list + "]"};
  });
  EXPECT_ERROR(run(), ErrorKind::kTooLarge, "with at most 100000 files but got more");
  EXPECT_FALSE(fs::exists(root() / "refs" / "main"));
}

TEST_F(Pull, NobodyThere) {
  const std::string gone = [] { return LocalHub().address(); }();
  EXPECT_ERROR(pull({gone, ""}, {"org/name"}, {}), ErrorKind::kIo, "expected an answer from");
  EXPECT_ERROR(Remote("ftp://x", ""), ErrorKind::kInvalidArgument, "http or https");
}

TEST_F(Pull, StopsWhenToldAndGoesOnLater) {
  hub_.after([](const auto&, LocalHub::Reply& reply) { reply.rate = 2'000'000; });
  std::atomic<int64_t> here{0};
  PullOptions options;
  options.download.connections = 1;  // of several, each may have asked before any was counted
  options.progress = [&](int64_t bytes, int64_t) { here = bytes; };
  options.download.stopped = [&] { return here > 500'000; };
  EXPECT_ERROR(run(options), ErrorKind::kCancelled, "stopped");
  expect_nothing_bad();
  EXPECT_LT(run().bytes_received, 600'000);
  EXPECT_EQ(read_file(snapshot() / kWeights), weights_);
  EXPECT_LT(hub_.bytes_sent(kWeights), weights_.size() + 6 * 65536);
}

// What another program left half done under the final name does not count.
TEST_F(Pull, ABlobOfAnotherSizeIsPulledAgain) {
  run();
  write_file_atomic(blob(), "short");
  run();
  EXPECT_EQ(read_file(snapshot() / kWeights), weights_);
}

TEST_F(Pull, TheCacheIsListedCheckedAndRemoved) {
  EXPECT_TRUE(cached_repositories().empty());
  run();
  const auto found = cached_repositories();
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0].name, "org/name");
  EXPECT_EQ(found[0].commits, std::vector<std::string>{LocalHub::kCommit});
  EXPECT_EQ(found[0].refs.at("main"), LocalHub::kCommit);
  std::string changed = weights_;
  changed[7] ^= 1;
  write_file_atomic(blob(), changed);
  fs::remove(root() / "blobs" / LocalHub::digest("README.md", "# Name\n"));
  std::map<std::string, Health> health;
  for (const auto& file : cached_files({"org/name"})) health[file.path] = check(file);
  EXPECT_EQ(health.at(kWeights), Health::kWrong);
  EXPECT_EQ(health.at("README.md"), Health::kMissing);
  EXPECT_EQ(health.at("config.json"), Health::kGood);
  EXPECT_GT(remove_repository("org/name"), 1'000'000);
  EXPECT_FALSE(fs::exists(root()));
  EXPECT_ERROR(remove_repository("org/name"), ErrorKind::kNotFound, "it is not there");
}

TEST_F(Pull, RemovingARevisionKeepsWhatOthersHave) {
  run();
  const fs::path other = root() / "snapshots" / std::string(40, 'f');
  fs::create_directories(other);
  fs::copy_symlink(snapshot() / "config.json", other / "config.json");
  EXPECT_EQ(remove_snapshot({"org/name"}), static_cast<int64_t>(weights_.size()) + 7);
  EXPECT_FALSE(fs::exists(snapshot()));
  EXPECT_FALSE(fs::exists(root() / "refs" / "main"));
  EXPECT_TRUE(fs::exists(other / "config.json"));
}

}  // namespace
}  // namespace fovea::hub

// A hub with one model, org/name, on a port of 127.0.0.1, that can be told to misbehave. What it
// answers follows Hugging Face's documentation; its hashes come from OpenSSL and git's own rule.
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "support/fixtures.h"

namespace fovea::testing {

// The same at every call.
inline std::string some_bytes(size_t size) {
  std::string bytes(size, '\0');
  uint32_t state = 1;
  for (char& c : bytes) c = static_cast<char>((state = state * 1664525 + 1013904223) >> 24);
  return bytes;
}

class LocalHub {
 public:
  struct Request {
    std::string target;
    std::map<std::string, std::string> headers;  // names in lower case
  };
  struct Reply {
    int status = 200;
    std::string body;
    std::map<std::string, std::string> headers = {};
    // The connection ends after so many bytes of the body.
    size_t cut_at = std::string::npos;
    // Of the body in a second; 0 is as fast as it goes.
    size_t rate = 0;
  };
  // Looks at a request before anything else does; nothing leaves it to the hub. May change the
  // reply that the hub made.
  using Before = std::function<std::optional<Reply>(const Request&)>;
  using After = std::function<void(const Request&, Reply&)>;

  static constexpr const char* kCommit = "0123456789abcdef0123456789abcdef01234567";

  LocalHub() {
    listener_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof(address);
    auto* any = reinterpret_cast<sockaddr*>(&address);
    if (::bind(listener_, any, size) != 0 || ::listen(listener_, 64) != 0) std::abort();
    ::getsockname(listener_, any, &size);
    port_ = ntohs(address.sin_port);
    acceptor_ = std::thread([this] { accept_all(); });
  }
  ~LocalHub() {
    ending_ = true;
    ::shutdown(listener_, SHUT_RDWR);
    acceptor_.join();
    ::close(listener_);
    for (auto& thread : threads_) thread.join();
  }
  LocalHub(const LocalHub&) = delete;
  LocalHub& operator=(const LocalHub&) = delete;

  std::string address() const { return fmt::format("http://127.0.0.1:{}", port_); }

  // Before the first request. Weights are large files, which the hub names by SHA-256.
  void add(const std::string& path, std::string bytes) {
    std::string hash = digest(path, bytes);
    files_[path] = {std::move(bytes), std::move(hash)};
  }

  void before(Before before) { before_ = std::move(before); }
  void after(After after) { after_ = std::move(after); }

  std::vector<Request> requests() const {
    const std::lock_guard lock(mutex_);
    return requests_;
  }
  // Bytes of bodies that went out for this file.
  size_t bytes_sent(const std::string& path) const {
    const std::lock_guard lock(mutex_);
    const auto found = sent_.find(path);
    return found == sent_.end() ? 0 : found->second;
  }

  static std::string digest(const std::string& path, const std::string& bytes) {
    if (path.ends_with(".safetensors")) return sha256(bytes.data(), bytes.size());
    const std::string object = fmt::format("blob {}", bytes.size()) + '\0' + bytes;
    unsigned char hash[EVP_MAX_MD_SIZE];
    unsigned int size = 0;
    ::EVP_Digest(object.data(), object.size(), hash, &size, ::EVP_sha1(), nullptr);
    std::string text;
    for (unsigned int i = 0; i < size; ++i) text += fmt::format("{:02x}", hash[i]);
    return text;
  }

 private:
  struct File {
    std::string bytes;
    std::string hash;
  };

  void accept_all() {
    while (!ending_) {
      const int fd = ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
      if (fd < 0) continue;
      threads_.emplace_back([this, fd] {
        serve(fd);
        ::close(fd);
      });
    }
  }

  static std::optional<Request> read_request(int fd) {
    std::string text;
    char piece[4096];
    while (text.find("\r\n\r\n") == std::string::npos) {
      const ssize_t got = ::recv(fd, piece, sizeof(piece), 0);
      if (got <= 0) return std::nullopt;
      text.append(piece, static_cast<size_t>(got));
    }
    Request request;
    const auto space = text.find(' ');
    request.target = text.substr(space + 1, text.find(' ', space + 1) - space - 1);
    size_t at = text.find("\r\n") + 2;
    for (size_t end; (end = text.find("\r\n", at)) != at; at = end + 2) {
      const auto colon = text.find(": ", at);
      std::string name = text.substr(at, colon - at);
      std::transform(name.begin(), name.end(), name.begin(),
                     [](char c) { return std::tolower(c); });
      request.headers[name] = text.substr(colon + 2, end - colon - 2);
    }
    return request;
  }

  void serve(int fd) {
    const auto request = read_request(fd);
    if (!request) return;
    {
      const std::lock_guard lock(mutex_);
      requests_.push_back(*request);
    }
    auto reply = before_ ? before_(*request) : std::nullopt;
    if (!reply) reply = answer(*request);
    if (after_) after_(*request, *reply);
    send_reply(fd, *request, *reply);
  }

  void send_reply(int fd, const Request& request, const Reply& reply) {
    std::string head =
        fmt::format("HTTP/1.1 {} X\r\nContent-Length: {}\r\n", reply.status, reply.body.size());
    for (const auto& [name, value] : reply.headers) head += name + ": " + value + "\r\n";
    head += "\r\n";
    if (!send_all(fd, head)) return;
    const size_t end = std::min(reply.cut_at, reply.body.size());
    const size_t piece = reply.rate ? std::max<size_t>(1, reply.rate / 100) : size_t{64} << 10;
    for (size_t at = 0; at < end && !ending_; at += piece) {
      const std::string part = reply.body.substr(at, std::min(piece, end - at));
      if (!send_all(fd, part)) return;
      const auto path = request.target.rfind('/') + 1;
      {
        const std::lock_guard lock(mutex_);
        sent_[request.target.substr(path)] += part.size();
      }
      if (reply.rate) ::usleep(10'000);
    }
  }

  static bool send_all(int fd, std::string_view bytes) {
    while (!bytes.empty()) {
      const ssize_t put = ::send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (put <= 0) return false;
      bytes.remove_prefix(static_cast<size_t>(put));
    }
    return true;
  }

  Reply answer(const Request& request) const {
    const std::string api = "/api/models/org/name/";
    if (request.target.starts_with(api + "revision/")) {
      const std::string revision = request.target.substr((api + "revision/").size());
      if (revision != "main" && revision != kCommit) return {404, "{}"};
      return {200, fmt::format(R"({{"id": "org/name", "sha": "{}"}})", kCommit)};
    }
    const std::string tree = api + "tree/" + kCommit + "?recursive=true";
    if (request.target.starts_with(tree)) return list(request.target.substr(tree.size()));
    const std::string files = std::string("/org/name/resolve/") + kCommit + "/";
    if (!request.target.starts_with(files)) return {404, ""};
    const auto file = files_.find(request.target.substr(files.size()));
    return file == files_.end() ? Reply{404, ""} : bytes_of(file->second, request);
  }

  // Two files a page.
  Reply list(const std::string& query) const {
    const std::string cursor = "&cursor=";
    const size_t begin = query.starts_with(cursor) ? std::stoul(query.substr(cursor.size())) : 0;
    JsonArray entries;
    JsonObject folder;
    folder.set("type", "directory").set("path", "folder").set("size", 0);
    if (begin == 0) entries.push(folder);
    size_t index = 0;
    for (const auto& [path, file] : files_) {
      if (index >= begin && index < begin + 2) entries.push(entry(path, file));
      ++index;
    }
    Reply reply{200, entries.dump()};
    if (begin + 2 < index) {
      reply.headers["Link"] =
          fmt::format("<{}/api/models/org/name/tree/{}?recursive=true{}{}>; rel=\"next\"",
                      address(), kCommit, cursor, begin + 2);
    }
    return reply;
  }

  static JsonObject entry(const std::string& path, const File& file) {
    JsonObject object;
    const auto size = static_cast<int64_t>(file.bytes.size());
    object.set("type", "file").set("path", path).set("size", size);
    if (file.hash.size() == 40) return std::move(object.set("oid", file.hash));
    JsonObject large;
    large.set("oid", file.hash).set("size", size).set("pointerSize", 134);
    object.set("oid", std::string(40, 'a')).set("lfs", large);
    return object;
  }

  static Reply bytes_of(const File& file, const Request& request) {
    Reply reply;
    reply.headers[file.hash.size() == 40 ? "ETag" : "X-Linked-Etag"] = '"' + file.hash + '"';
    reply.headers["X-Repo-Commit"] = kCommit;
    const auto range = request.headers.find("range");
    if (range == request.headers.end()) {
      reply.body = file.bytes;
      return reply;
    }
    const auto dash = range->second.find('-');
    const size_t begin = std::stoul(range->second.substr(6, dash - 6));
    const size_t end = std::stoul(range->second.substr(dash + 1)) + 1;
    reply.status = 206;
    reply.headers["Content-Range"] =
        fmt::format("bytes {}-{}/{}", begin, end - 1, file.bytes.size());
    reply.body = file.bytes.substr(begin, end - begin);
    return reply;
  }

  int listener_ = -1;
  int port_ = 0;
  std::map<std::string, File> files_;
  Before before_;
  After after_;
  std::atomic<bool> ending_{false};
  std::thread acceptor_;
  std::vector<std::thread> threads_;  // of the acceptor, until it has ended
  mutable std::mutex mutex_;
  std::vector<Request> requests_;
  std::map<std::string, size_t> sent_;
};

}  // namespace fovea::testing

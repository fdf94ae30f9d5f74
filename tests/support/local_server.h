// A web server on a port of 127.0.0.1 that can be told to misbehave.
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "base/format.h"

namespace fovea::testing {

class LocalServer {
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
    // What Content-Length says, where it is not the truth; "" leaves it out.
    std::optional<std::string> length = std::nullopt;
    bool endless = false;  // the body again and again
  };
  // Looks at a request before anything else does; nothing leaves it to the server. May change the
  // reply that was made.
  using Before = std::function<std::optional<Reply>(const Request&)>;
  using After = std::function<void(const Request&, Reply&)>;

  LocalServer() {
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
  virtual ~LocalServer() { end(); }
  LocalServer(const LocalServer&) = delete;
  LocalServer& operator=(const LocalServer&) = delete;

  int port() const { return port_; }
  std::string address() const { return fmt::format("http://127.0.0.1:{}", port_); }

  void before(Before before) {
    const std::lock_guard lock(mutex_);
    before_ = std::move(before);
  }
  void after(After after) {
    const std::lock_guard lock(mutex_);
    after_ = std::move(after);
  }

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

 protected:
  virtual Reply answer(const Request&) const { return {404, ""}; }
  // Before the derived part goes.
  void end() {
    if (ending_.exchange(true)) return;
    ::shutdown(listener_, SHUT_RDWR);
    acceptor_.join();
    ::close(listener_);
    for (auto& thread : threads_) thread.join();
  }

  // Of what the test and the threads of connections share, in derived parts too: a request that
  // comes from another process orders nothing between them.
  mutable std::mutex mutex_;

 private:
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
    Before before;
    After after;
    {
      const std::lock_guard lock(mutex_);
      requests_.push_back(*request);
      before = before_;
      after = after_;
    }
    auto reply = before ? before(*request) : std::nullopt;
    if (!reply) reply = answer(*request);
    if (after) after(*request, *reply);
    send_reply(fd, *request, *reply);
  }

  void send_reply(int fd, const Request& request, const Reply& reply) {
    const std::string length = reply.length.value_or(std::to_string(reply.body.size()));
    std::string head = fmt::format("HTTP/1.1 {} X\r\n", reply.status);
    if (!length.empty()) head += "Content-Length: " + length + "\r\n";
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
      if (reply.endless && at + piece >= end) at = 0 - piece;
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

  int listener_ = -1;
  int port_ = 0;
  std::atomic<bool> ending_{false};
  std::thread acceptor_;
  std::vector<std::thread> threads_;  // of the acceptor, until it has ended
  // By mutex_:
  Before before_;
  After after_;
  std::vector<Request> requests_;
  std::map<std::string, size_t> sent_;
};

}  // namespace fovea::testing

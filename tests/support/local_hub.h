// A hub with one model, org/name, on a port of 127.0.0.1, that can be told to misbehave. What it
// answers follows Hugging Face's documentation; its hashes come from OpenSSL and git's own rule.
#pragma once

#include <map>
#include <string>

#include "support/fixtures.h"
#include "support/local_server.h"

namespace fovea::testing {

// The same at every call.
inline std::string some_bytes(size_t size) {
  std::string bytes(size, '\0');
  uint32_t state = 1;
  for (char& c : bytes) c = static_cast<char>((state = state * 1664525 + 1013904223) >> 24);
  return bytes;
}

class LocalHub : public LocalServer {
 public:
  static constexpr const char* kCommit = "0123456789abcdef0123456789abcdef01234567";

  // Locked once: the threads of LocalServer, which are there already, find this part whole.
  LocalHub() { const std::lock_guard lock(mutex_); }
  ~LocalHub() override { end(); }

  // Weights are large files, which the hub names by SHA-256.
  void add(const std::string& path, std::string bytes) {
    std::string hash = digest(path, bytes);
    const std::lock_guard lock(mutex_);
    files_[path] = {std::move(bytes), std::move(hash)};
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

  Reply answer(const Request& request) const override {
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
    const std::lock_guard lock(mutex_);
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
    const std::lock_guard lock(mutex_);
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

  std::map<std::string, File> files_;  // by mutex_
};

}  // namespace fovea::testing

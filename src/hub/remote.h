// A hub that speaks Hugging Face's protocol: what a model has, and the bytes of its files. Any
// thread may call.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "base/json.h"
#include "core/hub_cache.h"
#include "base/http_client.h"

namespace fovea::hub {

struct RemoteFile {
  std::string path;  // within the model; leads nowhere else
  int64_t bytes = 0;
  std::string digest;  // see hub/digest.h
};

struct RemoteModel {
  std::string commit;
  std::vector<RemoteFile> files;
};

class Remote {
 public:
  // `token` may be empty; it goes to the endpoint and, when that redirects, nowhere else.
  Remote(std::string endpoint, std::string token);

  // HF_ENDPOINT, else Hugging Face itself. The token is HF_TOKEN, else HUGGING_FACE_HUB_TOKEN, else
  // what huggingface_hub's login wrote: the file HF_TOKEN_PATH, else hub_home()/token.
  static Remote from_environment();

  // The same token at another address.
  Remote at(const std::string& endpoint) const { return {endpoint, token_}; }

  const std::string& endpoint() const { return endpoint_; }

  // Throws Error(kNotFound) for a model or revision that the hub does not have or does not show,
  // kInvalidArgument where it asks for another token, PassingError where it has
  // no time or cannot be reached, kInvalidData where it gives what no hub gives, and kTooLarge for
  // a list beyond core/limits.h. What may pass is tried again, as with_retries() does it.
  RemoteModel model(const HubModel& wanted, const std::function<bool()>& stopped) const;

  // Bytes [begin, end) of a file, or all of it from 0 where the server ignores ranges: `sink` is
  // told where each piece stands and may end it. Throws as model() does; tries once.
  using PieceSink = std::function<bool(int64_t at, std::span<const std::byte>)>;
  void read(const std::string& repository, const std::string& commit, const RemoteFile& file,
            int64_t begin, int64_t end, const PieceSink& sink) const;

 private:
  HttpResponse get(HttpRequest request, const std::string& what, const std::string& digest,
                   const BodySink& sink) const;
  Json get_json(const std::string& url, const std::string& what, std::string& next_page,
                const std::function<bool()>& stopped) const;

  std::string endpoint_;
  std::string token_;
};

// Calls `attempt` until it throws no PassingError: six times, with longer and longer waits between,
// or those that the server asked for. Where `progressed` says that an attempt got further, the
// count begins anew. `stopped` ends a wait with Error(kCancelled).
void with_retries(const std::function<void()>& attempt, const std::function<bool()>& progressed,
                  const std::function<bool()>& stopped);

}  // namespace fovea::hub

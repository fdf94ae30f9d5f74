#include "hub/digest.h"

#include <openssl/evp.h>

#include <algorithm>
#include <cassert>
#include <memory>

#include "base/error.h"
#include "base/file.h"

namespace fovea::hub {
namespace {

constexpr size_t kSha1Digits = 40;
constexpr size_t kSha256Digits = 64;
constexpr size_t kPieceBytes = size_t{64} << 20;

class Digest {
 public:
  explicit Digest(const EVP_MD* kind) : context_(::EVP_MD_CTX_new(), ::EVP_MD_CTX_free) {
    ::EVP_DigestInit_ex(context_.get(), kind, nullptr);
  }

  void add(std::span<const std::byte> bytes) {
    ::EVP_DigestUpdate(context_.get(), bytes.data(), bytes.size());
  }

  std::string hexadecimal() {
    unsigned char bytes[EVP_MAX_MD_SIZE];
    unsigned int size = 0;
    ::EVP_DigestFinal_ex(context_.get(), bytes, &size);
    std::string text;
    for (unsigned int i = 0; i < size; ++i) text += fmt::format("{:02x}", bytes[i]);
    return text;
  }

 private:
  std::unique_ptr<EVP_MD_CTX, decltype(&::EVP_MD_CTX_free)> context_;
};

}  // namespace

bool is_digest(const std::string& name) {
  return (name.size() == kSha1Digits || name.size() == kSha256Digits) &&
         name.find_first_not_of("0123456789abcdef") == std::string::npos;
}

std::string digest_of(const std::filesystem::path& file, const std::string& like) {
  assert(is_digest(like));
  const bool git = like.size() == kSha1Digits;
  Digest digest(git ? ::EVP_sha1() : ::EVP_sha256());
  const auto size = std::filesystem::file_size(file);
  if (git) {
    // Git hashes a header before the bytes, with the zero at its end.
    const std::string header = fmt::format("blob {}", size);
    digest.add(std::as_bytes(std::span(header.c_str(), header.size() + 1)));
  }
  if (size == 0) return digest.hexadecimal();
  const auto mapped = MappedFile::open(file);
  for (size_t at = 0; at < mapped->size(); at += kPieceBytes) {
    const auto piece = mapped->bytes().subspan(at, std::min(kPieceBytes, mapped->size() - at));
    digest.add(piece);
    MappedFile::give_back(piece);
  }
  return digest.hexadecimal();
}

}  // namespace fovea::hub

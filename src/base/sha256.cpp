#include "base/sha256.h"

#include <openssl/evp.h>

#include <new>

namespace fovea {

struct Sha256::State {
  std::unique_ptr<EVP_MD_CTX, decltype(&::EVP_MD_CTX_free)> context{::EVP_MD_CTX_new(),
                                                                    ::EVP_MD_CTX_free};
};

Sha256::Sha256() : state_(std::make_unique<State>()) {
  if (!state_->context ||
      ::EVP_DigestInit_ex(state_->context.get(), ::EVP_sha256(), nullptr) != 1) {
    throw std::bad_alloc();
  }
}

Sha256::~Sha256() = default;

void Sha256::add(std::span<const std::byte> bytes) {
  if (::EVP_DigestUpdate(state_->context.get(), bytes.data(), bytes.size()) != 1) {
    throw std::bad_alloc();
  }
}

Sha256Bytes Sha256::finish() {
  Sha256Bytes bytes;
  unsigned int size = 0;
  auto* to = reinterpret_cast<unsigned char*>(bytes.data());
  if (::EVP_DigestFinal_ex(state_->context.get(), to, &size) != 1) throw std::bad_alloc();
  return bytes;
}

}  // namespace fovea

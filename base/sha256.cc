#include "base/sha256.h"

#include <openssl/evp.h>

#include <algorithm>
#include <array>

#include "absl/strings/escaping.h"
#include "base/check.h"
#include "base/file.h"
#include "base/status.h"

namespace inhouse::base {

struct Sha256::Context {
  EVP_MD_CTX* md = EVP_MD_CTX_new();
  Context() {
    INHOUSE_CHECK(md != nullptr && EVP_DigestInit_ex(md, EVP_sha256(), nullptr) == 1,
                  "OpenSSL has no SHA-256");
  }
  ~Context() { EVP_MD_CTX_free(md); }
  Context(const Context&) = delete;
  Context& operator=(const Context&) = delete;
};

Sha256::Sha256() : context_(std::make_unique<Context>()) {}
Sha256::~Sha256() = default;
Sha256::Sha256(Sha256&&) noexcept = default;
Sha256& Sha256::operator=(Sha256&&) noexcept = default;

void Sha256::Update(std::span<const std::byte> bytes) {
  INHOUSE_CHECK(EVP_DigestUpdate(context_->md, bytes.data(), bytes.size()) == 1, "SHA-256 failed");
}
void Sha256::Update(std::string_view text) { Update(std::as_bytes(std::span(text))); }

Sha256Bytes Sha256::Finish() {
  Sha256Bytes digest = {};
  unsigned size = 0;
  INHOUSE_CHECK(
      EVP_DigestFinal_ex(context_->md, digest.data(), &size) == 1 && size == digest.size(),
      "SHA-256 failed");
  return digest;
}

std::string Sha256::FinishHex() {
  const Sha256Bytes digest = Finish();
  return absl::BytesToHexString(
      absl::string_view(reinterpret_cast<const char*>(digest.data()), digest.size()));
}

absl::StatusOr<std::string> Sha256File(const std::string& path,
                                       const std::function<bool(uint64_t)>& progress) {
  constexpr size_t kStep = 8U << 20;
  INHOUSE_ASSIGN_OR_RETURN(const auto file, MappedFile::Open(path));
  Sha256 hash;
  const std::span<const std::byte> bytes = file->bytes();
  for (size_t at = 0; at < bytes.size(); at += kStep) {
    const size_t size = std::min(kStep, bytes.size() - at);
    hash.Update(bytes.subspan(at, size));
    file->DontNeed(at, size);
    if (progress && !progress(at + size)) return absl::CancelledError(path + ": hashing cancelled");
  }
  return hash.FinishHex();
}

}  // namespace inhouse::base

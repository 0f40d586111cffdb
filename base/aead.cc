#include "base/aead.h"

#include <openssl/evp.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <memory>

#include "base/check.h"

namespace inhouse::base {
namespace {

using Context = std::unique_ptr<EVP_CIPHER_CTX, decltype(&EVP_CIPHER_CTX_free)>;
// EVP counts in int.
constexpr size_t kPiece = size_t{1} << 30;

Context NewContext() {
  Context context(EVP_CIPHER_CTX_new(), &EVP_CIPHER_CTX_free);
  INHOUSE_CHECK(context != nullptr, "OpenSSL has no memory");
  return context;
}

std::array<unsigned char, 12> Nonce(uint64_t number) {
  std::array<unsigned char, 12> nonce = {};
  std::memcpy(nonce.data() + 4, &number, sizeof(number));
  return nonce;
}

const unsigned char* Bytes(const void* data) { return static_cast<const unsigned char*>(data); }

}  // namespace

void Aead::Seal(uint64_t number, std::string_view bound, std::span<const std::byte> plain,
                std::byte* out) const {
  const Context context = NewContext();
  const auto nonce = Nonce(number);
  auto* to = reinterpret_cast<unsigned char*>(out);
  int size = 0;
  bool good = EVP_EncryptInit_ex(context.get(), EVP_aes_256_gcm(), nullptr, key_.data(),
                                 nonce.data()) == 1 &&
              EVP_EncryptUpdate(context.get(), nullptr, &size, Bytes(bound.data()),
                                static_cast<int>(bound.size())) == 1;
  for (size_t at = 0; good && at < plain.size(); at += kPiece) {
    const size_t piece = std::min(kPiece, plain.size() - at);
    good = EVP_EncryptUpdate(context.get(), to + at, &size, Bytes(plain.data() + at),
                             static_cast<int>(piece)) == 1;
  }
  good = good && EVP_EncryptFinal_ex(context.get(), to + plain.size(), &size) == 1 &&
         EVP_CIPHER_CTX_ctrl(context.get(), EVP_CTRL_AEAD_GET_TAG, kAeadTagBytes,
                             to + plain.size()) == 1;
  INHOUSE_CHECK(good, "AES-256-GCM failed");
}

bool Aead::Open(uint64_t number, std::string_view bound, std::span<const std::byte> sealed,
                std::byte* out) const {
  if (sealed.size() < kAeadTagBytes) return false;
  const size_t plain = sealed.size() - kAeadTagBytes;
  const Context context = NewContext();
  const auto nonce = Nonce(number);
  auto* to = reinterpret_cast<unsigned char*>(out);
  std::array<unsigned char, kAeadTagBytes> tag = {};
  std::memcpy(tag.data(), sealed.data() + plain, tag.size());
  int size = 0;
  bool good = EVP_DecryptInit_ex(context.get(), EVP_aes_256_gcm(), nullptr, key_.data(),
                                 nonce.data()) == 1 &&
              EVP_DecryptUpdate(context.get(), nullptr, &size, Bytes(bound.data()),
                                static_cast<int>(bound.size())) == 1;
  for (size_t at = 0; good && at < plain; at += kPiece) {
    const size_t piece = std::min(kPiece, plain - at);
    good = EVP_DecryptUpdate(context.get(), to + at, &size, Bytes(sealed.data() + at),
                             static_cast<int>(piece)) == 1;
  }
  good =
      good &&
      EVP_CIPHER_CTX_ctrl(context.get(), EVP_CTRL_AEAD_SET_TAG, kAeadTagBytes, tag.data()) == 1 &&
      EVP_DecryptFinal_ex(context.get(), to + plain, &size) == 1;
  if (!good) std::memset(out, 0, plain);
  return good;
}

}  // namespace inhouse::base

#include "model-server/net/tls.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/ssl.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

#include "base/check.h"
#include "base/file.h"
#include "base/status.h"

namespace inhouse::model_server {
namespace {

// Authenticated encryption with ephemeral keys; TLS 1.3 has nothing else.
constexpr char kCiphers[] = "ECDHE+AESGCM:ECDHE+CHACHA20";
constexpr size_t kPieceBytes = 16 << 10;  // of plain text in a record, at most
constexpr unsigned char kAlpn[] = "\x08http/1.1";

// The first reason in OpenSSL's queue, which is emptied.
std::string TakeReason() {
  const auto code = ERR_get_error();
  ERR_clear_error();
  if (code == 0) return "unknown error";
  const char* reason = ERR_reason_error_string(code);
  return reason == nullptr ? "unknown error" : reason;
}

absl::Status FileError(const std::string& field, const std::string& file, std::string expected) {
  return base::InvalidInput(
      {.file = file, .field = field, .expected = std::move(expected) + " (" + TakeReason() + ")"});
}

// h2-only clients get no protocol, and find out by themselves.
int ChooseAlpn(SSL*, const unsigned char** out, unsigned char* out_size, const unsigned char* in,
               unsigned in_size, void*) {
  unsigned char* chosen = nullptr;
  const int found = SSL_select_next_proto(&chosen, out_size, kAlpn, sizeof(kAlpn) - 1, in, in_size);
  if (found != OPENSSL_NPN_NEGOTIATED) return SSL_TLSEXT_ERR_NOACK;
  *out = chosen;
  return SSL_TLSEXT_ERR_OK;
}

// No pass phrase is asked for on a terminal that nobody watches.
int NoPassPhrase(char*, int, int, void*) { return 0; }

}  // namespace

struct TlsContext::Impl {
  SSL_CTX* context = SSL_CTX_new(TLS_server_method());
  ~Impl() { SSL_CTX_free(context); }

  void SetRules() {
    INHOUSE_CHECK(context != nullptr, "OpenSSL gives no context");
    SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION);
    SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
                                     SSL_OP_NO_TICKET | SSL_OP_CIPHER_SERVER_PREFERENCE);
    SSL_CTX_set_num_tickets(context, 0);
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS);  // 34 KiB less for an idle connection
    SSL_CTX_set_alpn_select_cb(context, ChooseAlpn, nullptr);
    SSL_CTX_set_default_passwd_cb(context, NoPassPhrase);
    INHOUSE_CHECK(SSL_CTX_set_cipher_list(context, kCiphers) == 1, "OpenSSL lacks the ciphers");
  }
};

TlsContext::TlsContext(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
TlsContext::~TlsContext() = default;

absl::StatusOr<std::shared_ptr<const TlsContext>> TlsContext::Load(const TlsOptions& options) {
  auto impl = std::make_unique<Impl>();
  impl->SetRules();
  SSL_CTX* context = impl->context;
  // Read once more than needed, for errors that say "no such file" and not "PEM routines".
  for (const std::string& file : {options.cert_file, options.key_file, options.client_ca_file}) {
    if (file.empty()) continue;
    INHOUSE_RETURN_IF_ERROR(base::ReadFile(file, 16 << 20).status());
  }
  ERR_clear_error();
  if (SSL_CTX_use_certificate_chain_file(context, options.cert_file.c_str()) != 1) {
    return FileError("tls.cert", options.cert_file, "a PEM certificate, followed by its chain");
  }
  if (SSL_CTX_use_PrivateKey_file(context, options.key_file.c_str(), SSL_FILETYPE_PEM) != 1) {
    return FileError("tls.key", options.key_file,
                     "the certificate's private key, as PEM and without a pass phrase");
  }
  if (SSL_CTX_check_private_key(context) != 1) {
    return FileError("tls.key", options.key_file, "the key of the certificate");
  }
  if (!options.client_ca_file.empty()) {
    const char* file = options.client_ca_file.c_str();
    STACK_OF(X509_NAME)* names = SSL_load_client_CA_file(file);
    if (names == nullptr || SSL_CTX_load_verify_locations(context, file, nullptr) != 1) {
      sk_X509_NAME_pop_free(names, X509_NAME_free);
      return FileError("tls.client_ca", options.client_ca_file, "PEM certificates");
    }
    SSL_CTX_set_client_CA_list(context, names);
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nullptr);
  }
  return std::shared_ptr<const TlsContext>(new TlsContext(std::move(impl)));
}

struct TlsSession::Impl {
  SSL* ssl = nullptr;
  BIO* in = nullptr;   // from the wire; owned by ssl
  BIO* out = nullptr;  // to the wire; owned by ssl
  bool over = false;
  std::string error = {};

  ~Impl() { SSL_free(ssl); }

  void Drain(std::string* wire) const {
    while (const size_t size = BIO_ctrl_pending(out)) {
      const size_t before = wire->size();
      wire->resize(before + size);
      const int got = BIO_read(out, wire->data() + before, static_cast<int>(size));
      wire->resize(before + static_cast<size_t>(std::max(got, 0)));
      if (got <= 0) break;
    }
  }
  // The handshake, then what can be read; false when the connection is over.
  bool Advance(std::string* plain);
  // What an operation's result means; false when the connection is over.
  bool Judge(int result) {
    const int kind = SSL_get_error(ssl, result);
    if (kind == SSL_ERROR_WANT_READ || kind == SSL_ERROR_WANT_WRITE) return true;
    over = true;
    if (kind != SSL_ERROR_ZERO_RETURN) error = TakeReason();
    return false;
  }
};

bool TlsSession::Impl::Advance(std::string* plain) {
  if (SSL_is_init_finished(ssl) != 1) {
    const int result = SSL_do_handshake(ssl);
    if (result != 1) return Judge(result);
  }
  std::array<char, kPieceBytes> piece;
  for (;;) {
    const int size = SSL_read(ssl, piece.data(), static_cast<int>(piece.size()));
    if (size <= 0) return Judge(size);
    plain->append(piece.data(), static_cast<size_t>(size));
  }
}

TlsSession::TlsSession(const TlsContext& context) : impl_(std::make_unique<Impl>()) {
  impl_->ssl = SSL_new(context.impl_->context);
  impl_->in = BIO_new(BIO_s_mem());
  impl_->out = BIO_new(BIO_s_mem());
  INHOUSE_CHECK(impl_->ssl != nullptr && impl_->in != nullptr && impl_->out != nullptr,
                "OpenSSL is out of memory");
  SSL_set_bio(impl_->ssl, impl_->in, impl_->out);
  SSL_set_accept_state(impl_->ssl);
}
TlsSession::~TlsSession() = default;

bool TlsSession::Receive(std::string_view from_wire, std::string* plain, std::string* wire) {
  Impl& impl = *impl_;
  if (impl.over) return false;
  ERR_clear_error();
  bool going = true;
  // In pieces: OpenSSL's buffers keep the size to which they once grew.
  while (going && !from_wire.empty()) {
    const std::string_view piece = from_wire.substr(0, kPieceBytes);
    from_wire.remove_prefix(piece.size());
    BIO_write(impl.in, piece.data(), static_cast<int>(piece.size()));
    going = impl.Advance(plain);
    impl.Drain(wire);
  }
  return going;
}

void TlsSession::Send(std::string_view plain, std::string* wire) {
  Impl& impl = *impl_;
  ERR_clear_error();
  while (!impl.over && !plain.empty()) {
    const std::string_view piece = plain.substr(0, kPieceBytes);
    plain.remove_prefix(piece.size());
    const int size = SSL_write(impl.ssl, piece.data(), static_cast<int>(piece.size()));
    // A memory buffer takes everything: less is a failure of OpenSSL.
    if (size != static_cast<int>(piece.size())) {
      impl.over = true;
      impl.error = TakeReason();
    }
    impl.Drain(wire);
  }
}

void TlsSession::Close(std::string* wire) {
  Impl& impl = *impl_;
  if (impl.over || !established()) return;
  ERR_clear_error();
  SSL_shutdown(impl.ssl);
  ERR_clear_error();
  impl.Drain(wire);
}

bool TlsSession::established() const { return SSL_is_init_finished(impl_->ssl) == 1; }
std::string TlsSession::error() const { return impl_->error; }

}  // namespace inhouse::model_server

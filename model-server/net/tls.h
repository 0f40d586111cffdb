// TLS between bytes and bytes: no socket, so that connections stay as they are and a test needs no
// network.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace inhouse::model_server {

struct TlsOptions {
  std::string cert_file = {};       // PEM: the server's certificate, then the chain; "" = no TLS
  std::string key_file = {};        // PEM
  std::string client_ca_file = {};  // PEM; set: only clients with a certificate of one of these
};

// Certificates and rules of one moment: TLS 1.2 and 1.3, forward secrecy only, no tickets (each
// connection proves itself anew, and nothing that was withdrawn lives on in one), no renegotiation.
// Immutable; sessions that began with it keep it.
class TlsContext {
 public:
  // Errors name the file: unreadable, not PEM, a key that does not belong to the certificate.
  static absl::StatusOr<std::shared_ptr<const TlsContext>> Load(const TlsOptions& options);
  ~TlsContext();
  TlsContext(const TlsContext&) = delete;
  TlsContext& operator=(const TlsContext&) = delete;

 private:
  friend class TlsSession;
  struct Impl;
  explicit TlsContext(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

// The server's side of one connection. Not thread-safe. After an error it only has last words
// (an alert) to send.
class TlsSession {
 public:
  explicit TlsSession(const TlsContext& context);
  ~TlsSession();
  TlsSession(const TlsSession&) = delete;
  TlsSession& operator=(const TlsSession&) = delete;

  // Takes what came from the socket, appends what it says to `plain` and what must be answered to
  // `wire`. False when the connection is over: a failed handshake, a broken record, or the peer's
  // farewell.
  bool Receive(std::string_view from_wire, std::string* plain, std::string* wire);
  // Encrypts. The handshake must be over.
  void Send(std::string_view plain, std::string* wire);
  void Close(std::string* wire);  // our farewell

  bool established() const;
  std::string error() const;  // why Receive said false; "" for a farewell

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace inhouse::model_server

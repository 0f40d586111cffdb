// Requests and responses as plain values. No socket, no Beast.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace inhouse::model_server {

struct Headers {
  std::vector<std::pair<std::string, std::string>> fields = {};

  void Add(std::string name, std::string value) {
    fields.emplace_back(std::move(name), std::move(value));
  }
  // The first field of that name, in any case; "" if there is none.
  std::string_view Find(std::string_view name) const;
  // All of them, in order.
  std::vector<std::string_view> FindAll(std::string_view name) const;
};

struct Request {
  std::string method = {};  // as sent: "GET"
  std::string target = {};  // as sent: "/v1/models/a%2Fb?x=1"
  Headers headers = {};
  std::string body = {};
  std::string remote = {};  // "127.0.0.1:50210"
  std::string peer = {};    // its address alone
  std::string id = {};      // x-request-id: the client's, if it is harmless, else ours
};

// Content-Length, Connection and Date are added by the connection.
struct Response {
  int status = 200;
  Headers headers = {};
  std::string body = {};
};

std::string_view ReasonPhrase(int status);

// "/v1/models/a%2Fb?x=1" -> "/v1/models/a%2Fb": still encoded, without the query.
std::string_view TargetPath(std::string_view target);

// "%2F" -> "/"; a % that is not followed by two hex digits stays.
std::string PercentDecode(std::string_view text);

// Whether a client's request id may be repeated in headers and logs: 1..128 visible ASCII
// characters.
bool IsHarmlessId(std::string_view id);

}  // namespace inhouse::model_server

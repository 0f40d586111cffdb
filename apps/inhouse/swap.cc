// inhouse swap: another model takes over in a running server, or the previous one comes back.
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/time/time.h"
#include "apps/inhouse/progress.h"
#include "apps/inhouse/verb.h"
#include "base/file.h"
#include "base/status.h"
#include "fmt/format.h"
#include "lifecycle/hub/http.h"
#include "nlohmann/json.hpp"

namespace inhouse::apps {
namespace {

using lifecycle::HttpClient;
using nlohmann::ordered_json;

constexpr auto kPoll = std::chrono::milliseconds(200);

struct Flags {
  std::string model = {};
  std::string server = "http://127.0.0.1:8080";
  std::string key_file = {};
  bool rollback = false;
  bool status = false;
  bool unload_first = false;
  bool keep_previous = false;
  bool no_wait = false;
  bool json = false;
  double wait_seconds = 600;
};

// The key stands in a file or in INHOUSE_API_KEY, not on a command line that others can list.
absl::StatusOr<std::string> ReadKey(const std::string& file) {
  if (!file.empty()) return base::ReadSecretFile(file);
  const char* value = std::getenv("INHOUSE_API_KEY");
  return std::string(value == nullptr ? "" : value);
}

// The admin routes of one server.
class Admin {
 public:
  Admin(std::string server, const std::string& key) : server_(std::move(server)), client_({}) {
    while (server_.ends_with('/')) server_.pop_back();
    headers_.emplace_back("Content-Type: application/json");
    if (!key.empty()) headers_.push_back("Authorization: Bearer " + key);
  }

  absl::StatusOr<ordered_json> State() {
    return Read(client_.Fetch({.url = server_ + "/admin/model", .headers = headers_}));
  }
  absl::StatusOr<ordered_json> Start(const std::string& what, const ordered_json& body) {
    return Read(
        client_.Post({.url = server_ + "/admin/model/" + what, .headers = headers_}, body.dump()));
  }

 private:
  absl::StatusOr<ordered_json> Read(const absl::StatusOr<HttpClient::Answer>& answer) const {
    INHOUSE_RETURN_IF_ERROR(answer.status());
    ordered_json json = ordered_json::parse(answer->body, nullptr, false);
    if (answer->status < 300 && json.is_object()) return json;
    std::string message = fmt::format("HTTP {}", answer->status);
    if (json.is_object() && json.contains("error") && json["error"].is_object()) {
      const ordered_json& text = json["error"]["message"];
      if (text.is_string()) message = text.get<std::string>();
    } else if (answer->status < 300) {
      message = "the answer is not that of an inhouse server";
    }
    message = server_ + ": " + message;
    switch (answer->status) {
      case 401:
      case 403:
        return absl::PermissionDeniedError(message);
      case 404:
        return absl::NotFoundError(message);
      case 409:
        return absl::FailedPreconditionError(message);
      default:
        return absl::UnavailableError(message);
    }
  }

  std::string server_;
  std::vector<std::string> headers_;
  HttpClient client_;
};

std::string Text(const ordered_json& object, const char* key) {
  const auto it = object.find(key);
  return it != object.end() && it->is_string() ? it->get<std::string>() : "";
}

// Follows the swap with that number to its end.
absl::StatusOr<ordered_json> Follow(Admin* admin, ordered_json swap) {
  ProgressBar bar("loading");
  const ordered_json number = swap["id"];
  while (Text(swap, "status") != "done" && Text(swap, "status") != "failed") {
    if (Interrupted()) return absl::CancelledError("interrupted; the swap goes on");
    std::this_thread::sleep_for(kPoll);
    INHOUSE_ASSIGN_OR_RETURN(ordered_json state, admin->State());
    swap = state["swap"];
    if (!swap.is_object() || swap["id"] != number) {
      return absl::AbortedError("another swap has followed; the server's log tells how this ended");
    }
    if (swap.contains("percent")) bar.Set(swap["percent"].get<uint64_t>(), 100);
  }
  bar.Finish();
  if (Text(swap, "status") == "failed") return absl::AbortedError(Text(swap, "error"));
  return swap;
}

void PrintState(const ordered_json& state) {
  const ordered_json& serving = state["serving"];
  if (serving.is_object()) {
    fmt::print("serving   {}  {}  loaded {}\n", Text(serving, "model"),
               Text(serving, "system_fingerprint"),
               absl::FormatTime("%Y-%m-%d %H:%M:%S UTC",
                                absl::FromUnixSeconds(serving["loaded_at"].get<int64_t>()),
                                absl::UTCTimeZone()));
    fmt::print("          {}\n", Text(serving, "path"));
  } else {
    fmt::print("serving   nothing\n");
  }
  if (state["previous"].is_object()) {
    fmt::print("previous  {}{}\n", Text(state["previous"], "model"),
               state["previous"]["resident"] == true ? "  (in memory)" : "");
  }
  for (const ordered_json& model : state["finishing"]) {
    fmt::print("finishing {}  {} running\n", Text(model, "model"), model["running"].dump());
  }
  const ordered_json& swap = state["swap"];
  if (swap.is_object()) {
    fmt::print("last swap {} -> {}: {}{}\n", Text(swap, "from"), Text(swap, "to"),
               Text(swap, "status"),
               swap["error"].is_string() ? ": " + Text(swap, "error") : std::string());
  }
}

absl::Status RunSwap(const Flags& flags) {
  INHOUSE_ASSIGN_OR_RETURN(const std::string key, ReadKey(flags.key_file));
  Admin admin(flags.server, key);
  if (flags.status) {
    INHOUSE_ASSIGN_OR_RETURN(const ordered_json state, admin.State());
    if (flags.json) {
      fmt::print("{}\n", state.dump());
    } else {
      PrintState(state);
    }
    return absl::OkStatus();
  }
  ordered_json body = {{"unload_first", flags.unload_first},
                       {"keep_previous", flags.keep_previous},
                       {"wait_seconds", flags.wait_seconds}};
  if (!flags.rollback) body["model"] = flags.model;
  INHOUSE_ASSIGN_OR_RETURN(ordered_json swap,
                           admin.Start(flags.rollback ? "rollback" : "swap", body));
  if (!flags.no_wait) {
    INHOUSE_ASSIGN_OR_RETURN(swap, Follow(&admin, std::move(swap)));
  }
  if (flags.json) {
    fmt::print("{}\n", swap.dump());
  } else if (Text(swap, "status") == "done") {
    fmt::print("{} answers instead of {}\n", Text(swap, "to"), Text(swap, "from"));
  } else {
    fmt::print("swap {} is under way\n", swap["id"].dump());
  }
  return absl::OkStatus();
}

}  // namespace

VerbRun SetUpSwap(CLI::App& app) {
  auto flags = std::make_shared<Flags>();
  CLI::Option* model = app.add_option(
      "MODEL", flags->model, "a model of the server's store, or a path below its --model-root");
  CLI::Option* rollback =
      app.add_flag("--rollback", flags->rollback, "the previous model takes over again");
  CLI::Option* status = app.add_flag("--status", flags->status, "say which model answers");
  rollback->excludes(model);
  status->excludes(model)->excludes(rollback);
  app.add_option("--server", flags->server, "URL of the running server")->capture_default_str();
  app.add_option("--key-file", flags->key_file,
                 "file with an admin key that only its owner can read (default: the variable "
                 "INHOUSE_API_KEY)");
  CLI::Option* unload =
      app.add_flag("--unload-first", flags->unload_first,
                   "free the serving model before the other is loaded: nobody is answered "
                   "meanwhile, but both need not fit in memory");
  app.add_flag("--keep-previous", flags->keep_previous,
               "leave the model that served in memory, so that --rollback takes no time")
      ->excludes(unload);
  app.add_option("--wait-seconds", flags->wait_seconds,
                 "with --unload-first: for the answers that have begun")
      ->capture_default_str()
      ->check(CLI::Range(0.0, 86400.0));
  app.add_flag("--no-wait", flags->no_wait, "return as soon as the load has begun");
  app.add_flag("--json", flags->json, "print a JSON object");
  return [flags] {
    if (flags->model.empty() && !flags->rollback && !flags->status) {
      ReportError(
          base::InvalidInput({.field = "MODEL", .expected = "a model, --rollback or --status"}),
          flags->json);
      return int{kUsage};
    }
    const absl::Status status = RunSwap(*flags);
    return status.ok() ? int{kDone} : ReportError(status, flags->json);
  };
}

}  // namespace inhouse::apps

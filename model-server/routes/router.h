// One table of routes; every request passes the guard, the counters and the log here.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "model-server/routes/context.h"

namespace inhouse::model_server {

// One request on its way through a route.
struct Exchange {
  Context* context = nullptr;
  std::shared_ptr<const Request> request = {};
  std::shared_ptr<ResponseWriter> writer = {};
  std::shared_ptr<Call> call = {};
  std::string parameter = {};  // what stands for {id} in the pattern, decoded
};

// Runs on the io thread.
using RouteHandler = void (*)(const Exchange& exchange);

struct Route {
  std::string_view method = {};
  std::string_view pattern = {};  // "/v1/models/{id}": all that follows; "/{id}/content": up to
                                  // that end. Of two that fit, the first counts
  RouteHandler handler = nullptr;
  // What a key must be good for. A route that does not say is closed to all but administrators.
  guard::Scope scope = guard::Scope::kAdmin;
};

// Finds the route, asks the guard, counts, logs. 404 and 405 as OpenAI words them. HEAD goes where
// GET goes; OPTIONS tells what is allowed. All of them are behind the guard: who has no key does
// not learn what there is.
class Router {
 public:
  Router(Context* context, std::vector<Route> routes);
  // Whether the guard will refuse this request, whose body has not come yet. Uses nothing up.
  bool WillRefuse(const Request& head) const;
  void Handle(std::shared_ptr<const Request> request, std::shared_ptr<ResponseWriter> writer);

 private:
  struct Match {
    const Route* route = nullptr;   // null: none has that method
    std::string_view pattern = {};  // "": no route has that path
    std::string parameter = {};
    std::string allowed = {};  // methods of that path
  };
  Match Find(const Request& request) const;
  // The guard's refusal, if it refuses; notes who is calling.
  std::optional<Response> Admit(const Request& request, const Route* route, Call* call) const;

  Context* context_;
  const std::vector<Route> routes_;
};

}  // namespace inhouse::model_server

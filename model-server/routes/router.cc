#include "model-server/routes/router.h"

#include <chrono>
#include <optional>
#include <utility>

#include "base/log.h"
#include "fmt/format.h"
#include "model-server/api/messages_writer.h"

namespace inhouse::model_server {
namespace {

using Clock = std::chrono::steady_clock;
constexpr int kClientClosed = 499;  // nginx's number for "the client left first"

// Puts the request id on every answer; counts and logs it when it ends.
class TrackedWriter : public ResponseWriter {
 public:
  TrackedWriter(Context* context, std::shared_ptr<const Request> request,
                std::shared_ptr<ResponseWriter> writer, std::shared_ptr<const Call> call,
                std::string_view handler)
      : context_(context),
        call_(std::move(call)),
        request_(std::move(request)),
        writer_(std::move(writer)),
        handler_(handler),
        anthropic_errors_(handler.starts_with("/v1/messages")),
        start_(Clock::now()) {}
  ~TrackedWriter() override { Record(kClientClosed); }

  void Send(Response response) override {
    AddHeaders(&response.headers);
    if (anthropic_errors_ && response.status >= 400) {
      response.body = AnthropicErrorJson(response.status, response.body, request_->id);
    }
    const int status = response.status;
    writer_->Send(std::move(response));
    Record(status);
  }
  void StartStream(Response head) override {
    AddHeaders(&head.headers);
    stream_status_ = head.status;
    writer_->StartStream(std::move(head));
  }
  bool Write(std::string piece) override { return writer_->Write(std::move(piece)); }
  void End() override {
    const bool gone = writer_->closed();
    writer_->End();
    Record(gone ? kClientClosed : stream_status_);
  }
  bool closed() const override { return writer_->closed(); }
  void OnClosed(std::function<void()> work) override { writer_->OnClosed(std::move(work)); }

 private:
  void AddHeaders(Headers* headers) const {
    headers->Add("x-request-id", request_->id);
    if (anthropic_errors_) headers->Add("request-id", request_->id);
    if (call_->pass != nullptr) AddRateHeaders(call_->pass->rates(), headers);
  }
  void Record(int status) {
    if (std::exchange(recorded_, true)) return;
    const double seconds = std::chrono::duration<double>(Clock::now() - start_).count();
    const std::string_view method =
        handler_ == "none" ? "other" : std::string_view(request_->method);
    context_->metrics->OnHttp(
        {.handler = handler_, .method = method, .status = status, .seconds = seconds});
    if (call_->trace != nullptr) {
      context_->options.tracer->Add(
          SpansOf(*call_->trace, *call_, *request_, handler_, status, seconds));
    }
    const auto level =
        request_->method == "POST" || status >= 400 ? spdlog::level::info : spdlog::level::debug;
    if (context_->options.request_log != nullptr) {
      context_->options.request_log->Add({.request = request_.get(),
                                          .call = call_.get(),
                                          .route = handler_,
                                          .status = status,
                                          .seconds = seconds});
    }
    spdlog::log(level, "{} {} {} {} {:.1f} ms {}", request_->remote, request_->method,
                TargetPath(request_->target).substr(0, 200), status, seconds * 1000, request_->id);
  }

  Context* context_;
  std::shared_ptr<const Call> call_;
  std::shared_ptr<const Request> request_;
  std::shared_ptr<ResponseWriter> writer_;
  const std::string_view handler_;
  const bool anthropic_errors_;  // Anthropic's clients read errors of another shape
  const Clock::time_point start_;
  int stream_status_ = 200;
  bool recorded_ = false;
};

// Whether `path` (still encoded) fits; {id} takes the rest, so that an id with a plain slash is
// found too, or what comes before the pattern's end.
std::optional<std::string> MatchPattern(std::string_view pattern, std::string_view path) {
  const size_t brace = pattern.find('{');
  if (brace == std::string_view::npos) {
    if (path.size() > 1 && path.ends_with('/')) path.remove_suffix(1);
    return path == pattern ? std::make_optional<std::string>() : std::nullopt;
  }
  if (path.size() <= brace || path.substr(0, brace) != pattern.substr(0, brace)) {
    return std::nullopt;
  }
  const std::string_view end = pattern.substr(pattern.find('}') + 1);
  path.remove_prefix(brace);
  if (path.size() <= end.size() || !path.ends_with(end)) return std::nullopt;
  path.remove_suffix(end.size());
  return PercentDecode(path);
}

// What is no route is behind the guard, too: any key will do to learn that.
guard::Scope ScopeOf(const Route* route) {
  return route == nullptr ? guard::Scope::kInfo : route->scope;
}

ApiError UnknownUrl(const Request& request) {
  ApiError error =
      InvalidRequest("", "unknown_url",
                     fmt::format("Unknown request URL: {} {}. Please check the URL for typos.",
                                 request.method, TargetPath(request.target).substr(0, 200)));
  error.status = 404;
  return error;
}

ApiError WrongMethod(const Request& request, std::string_view allowed) {
  ApiError error =
      InvalidRequest("", "method_not_supported",
                     fmt::format("Not allowed to {} on {} (allowed: {}).", request.method,
                                 TargetPath(request.target).substr(0, 200), allowed));
  error.status = 405;
  return error;
}

}  // namespace

Router::Router(Context* context, std::vector<Route> routes)
    : context_(context), routes_(std::move(routes)) {}

Router::Match Router::Find(const Request& request) const {
  const std::string_view path = TargetPath(request.target);
  const std::string_view method =
      request.method == "HEAD" ? "GET" : std::string_view(request.method);
  Match match;
  for (const Route& route : routes_) {
    auto parameter = MatchPattern(route.pattern, path);
    if (!parameter || (!match.pattern.empty() && match.pattern != route.pattern)) continue;
    match.pattern = route.pattern;
    match.parameter = *std::move(parameter);
    if (!match.allowed.empty()) match.allowed += ", ";
    match.allowed += route.method == "GET" ? "GET, HEAD" : route.method;
    if (route.method == method) match.route = &route;
  }
  return match;
}

bool Router::WillRefuse(const Request& head) const {
  const guard::Guard* guard = context_->options.guard.get();
  if (guard == nullptr) return false;
  return AskGuard(*guard, head, ScopeOf(Find(head).route), /*counts=*/false).denial.has_value();
}

std::optional<Response> Router::Admit(const Request& request, const Route* route,
                                      Call* call) const {
  const guard::Guard* guard = context_->options.guard.get();
  if (guard == nullptr) return std::nullopt;
  guard::Admission admission = AskGuard(*guard, request, ScopeOf(route), /*counts=*/true);
  call->caller = admission.caller;
  call->pass = admission.pass;
  if (!admission.denial) return std::nullopt;
  const ApiError error = DenialError(*admission.denial);
  context_->metrics->OnRejected(error.code);
  Response response = ErrorResponse(error);
  if (admission.rates) AddRateHeaders(*admission.rates, &response.headers);
  return response;
}

void Router::Handle(std::shared_ptr<const Request> request,
                    std::shared_ptr<ResponseWriter> writer) {
  const Match match = Find(*request);
  auto call = std::make_shared<Call>();
  auto tracked = std::make_shared<TrackedWriter>(context_, request, std::move(writer), call,
                                                 match.pattern.empty() ? "none" : match.pattern);
  if (auto denied = Admit(*request, match.route, call.get())) {
    return tracked->Send(*std::move(denied));
  }
  // Strangers leave no traces, and the routes that an orchestrator asks all day neither.
  call->trace = BeginTrace(context_->options.tracer.get(), *request, match.pattern);
  if (match.pattern.empty()) return tracked->Send(ErrorResponse(UnknownUrl(*request)));
  if (match.route == nullptr) {
    const bool asks = request->method == "OPTIONS";
    Response response =
        asks ? Response{.status = 204} : ErrorResponse(WrongMethod(*request, match.allowed));
    response.headers.Add("Allow", match.allowed + ", OPTIONS");
    return tracked->Send(std::move(response));
  }
  match.route->handler({.context = context_,
                        .request = std::move(request),
                        .writer = std::move(tracked),
                        .call = std::move(call),
                        .parameter = match.parameter});
}

}  // namespace inhouse::model_server

#include "model-server/routes/chat.h"

#include <algorithm>
#include <utility>

#include "base/status.h"
#include "model-server/api/json_limits.h"
#include "model-server/routes/random_id.h"
#include "model-server/routes/submit.h"

namespace inhouse::model_server {
namespace {

struct ChatOutput {
  bool logprobs = false;
  size_t top_logprobs = 0;
  bool parallel_tool_calls = true;
  bool include_reasoning = true;
  bool prompt_ends_in_think = false;
  int64_t prompt_tokens = 0;
  const engine::ChatFormat* format = nullptr;
  bool forced_calls = false;
};

class ChatGeneration : public Generation {
 public:
  ChatGeneration(GenerationSetup setup, const ChatOutput& output,
                 std::unique_ptr<ChatWriter> writer, size_t n)
      : Generation(std::move(setup)), output_(output), writer_(std::move(writer)), parts_(n) {
    const engine::ChatFormat& format = *output.format;
    for (size_t i = 0; i < n; ++i) {
      parts_[i].stream = output.forced_calls ? format.NewForcedStream(output.prompt_ends_in_think)
                                             : format.NewStream(output.prompt_ends_in_think);
      parts_[i].reasons = output.prompt_ends_in_think;
      parts_[i].choice.index = static_cast<int64_t>(i);
      if (output.logprobs) parts_[i].choice.logprobs.emplace();
    }
  }

 protected:
  void OnStreamStart() override {
    std::string first = writer_->Start(output_.prompt_tokens);
    if (!first.empty()) WritePiece(std::move(first));
  }
  std::string ErrorEvent(const ApiError& error) override { return writer_->Error(error); }

  void OnTokens(size_t index, engine::TokenEvent& event) override {
    Part& part = parts_[index];
    part.choice.stop_string = event.stop_string;
    // The end token is not part of the message, so it has no place among its tokens.
    if (EndedByToken(event) && !event.logprobs.empty()) event.logprobs.pop_back();
    if (setup().params.prompt_logprobs && !event.prompt_logprobs.empty()) {
      part.choice.prompt_logprobs = PromptLogprobs(event);
    }
    for (const engine::TokenLogprob& logprob : event.logprobs) {
      if (output_.logprobs) part.choice.logprobs->push_back(Score(logprob, output_.top_logprobs));
    }
    Deliver(part, part.stream->Push(event.text), event.ids.size());
  }

  void OnSequenceEnd(size_t index, engine::FinishReason reason) override {
    Part& part = parts_[index];
    Deliver(part, part.stream->Finish(), 0);
    part.choice.finish_reason = FinishName(index, reason);
    if (!streams()) return;
    // What is left of the logprobs belongs to tokens that gave no text.
    ChatPiece piece{.index = part.choice.index,
                    .first = !part.started,
                    .finish_reason = part.choice.finish_reason,
                    .stop_string = part.choice.stop_string};
    Write(part, piece);
  }

  void OnAllEnded() override {
    AnswerUsage total{.prompt_tokens = usage(0).prompt_tokens,
                      .cached_tokens = usage(0).cached_tokens};
    for (size_t i = 0; i < parts_.size(); ++i) {
      total.completion_tokens += usage(i).completion_tokens;
      total.reasoning_tokens += parts_[i].reasoning_tokens;
    }
    if (streams()) return EndStream(writer_->End(total));
    std::vector<ChatChoice> choices;
    for (Part& part : parts_) choices.push_back(std::move(part.choice));
    SendWhole({.body = writer_->Whole(choices, total)});
  }

  std::string FinishName(size_t index, engine::FinishReason reason) const override {
    if (reason == engine::FinishReason::kLength) return "length";
    return parts_[index].tool_calls > 0 ? "tool_calls" : "stop";
  }

 private:
  struct Part {
    std::unique_ptr<engine::CompletionStream> stream = {};
    ChatChoice choice = {};
    bool reasons = false;  // the last text was reasoning
    bool started = false;  // the role was sent
    int64_t tool_calls = 0;
    int64_t reasoning_tokens = 0;
  };

  bool EndedByToken(const engine::TokenEvent& event) const {
    if (event.finish != engine::FinishReason::kStop || event.ids.empty()) return false;
    const GenerateParams& params = setup().params;
    const auto has = [&event](const std::vector<engine::TokenId>& ids) {
      return std::find(ids.begin(), ids.end(), event.ids.back()) != ids.end();
    };
    return event.stop_string.empty() && !params.include_stop &&
           (has(params.stop_ids) || has(setup().model->engine->info().end_tokens));
  }

  // Sorts what is new into the answer, or sends it.
  void Deliver(Part& part, engine::CompletionDelta delta, size_t tokens) {
    if (!delta.reasoning.empty()) part.reasons = true;
    if (!delta.content.empty() || !delta.tool_calls.empty() || !delta.call_pieces.empty()) {
      part.reasons = false;
    }
    if (part.reasons) part.reasoning_tokens += static_cast<int64_t>(tokens);
    if (!output_.include_reasoning) delta.reasoning.clear();
    if (!output_.parallel_tool_calls && !delta.tool_calls.empty()) {
      delta.tool_calls.resize(part.tool_calls == 0 ? 1 : 0);
    }
    for (engine::ToolCall& call : delta.tool_calls) {
      if (call.id.empty()) call.id = NewCallId();
    }
    const int64_t first_tool = part.tool_calls;
    part.tool_calls += static_cast<int64_t>(delta.tool_calls.size());
    if (streams()) return Send(part, std::move(delta), first_tool);
    if (!delta.reasoning.empty()) {
      part.choice.reasoning = part.choice.reasoning.value_or("") + delta.reasoning;
    }
    part.choice.content += delta.content;
    for (engine::ToolCall& call : delta.tool_calls) {
      part.choice.tool_calls.push_back(std::move(call));
    }
    for (engine::ToolCallPiece& piece : delta.call_pieces) {
      if (piece.begins) part.choice.tool_calls.push_back(NewCall(part, std::move(piece.name)));
      part.choice.tool_calls.back().arguments += piece.arguments;
    }
  }

  std::string NewCallId() const { return std::string(writer_->call_id_prefix()) + RandomId(); }

  engine::ToolCall NewCall(Part& part, std::string name) const {
    ++part.tool_calls;
    return {.id = NewCallId(), .name = std::move(name)};
  }

  // A call's name, then its arguments as they come.
  void SendPiece(Part& part, engine::ToolCallPiece& piece) {
    const std::vector<engine::ToolCall> begun =
        piece.begins ? std::vector{NewCall(part, std::move(piece.name))}
                     : std::vector<engine::ToolCall>();
    Write(part, {.index = part.choice.index,
                 .tool_calls = &begun,
                 .first_tool_index = part.tool_calls - 1,
                 .arguments = piece.arguments});
  }

  void Send(Part& part, engine::CompletionDelta delta, int64_t first_tool) {
    if (!part.started) {
      ChatPiece role{.index = part.choice.index, .first = true};
      part.started = true;
      Write(role);
    }
    // One kind at a time: clients switch their display on the first that they find.
    if (!delta.reasoning.empty()) {
      Write(part, {.index = part.choice.index, .reasoning = delta.reasoning});
    }
    if (!delta.content.empty()) {
      Write(part, {.index = part.choice.index, .content = delta.content});
    }
    if (!delta.tool_calls.empty()) {
      Write(part, {.index = part.choice.index,
                   .tool_calls = &delta.tool_calls,
                   .first_tool_index = first_tool});
    }
    for (engine::ToolCallPiece& piece : delta.call_pieces) SendPiece(part, piece);
  }

  void Write(const ChatPiece& piece) {
    std::string events = writer_->Piece(piece);
    if (!events.empty()) WritePiece(std::move(events));
  }

  // The scores that have gathered go with the next piece.
  void Write(Part& part, ChatPiece piece) {
    part.started = true;
    std::vector<TokenScore> scores;
    if (part.choice.logprobs && !part.choice.logprobs->empty()) {
      scores = std::exchange(*part.choice.logprobs, {});
      piece.logprobs = &scores;
    }
    Write(piece);
  }

  const ChatOutput output_;
  const std::unique_ptr<ChatWriter> writer_;
  std::vector<Part> parts_;
};

// What tool_choice asks for: calls and nothing else, or, beside a grammar for the answer, calls as
// well.
std::optional<ApiError> AddCalls(const engine::ChatFormat& format, ChatRequest* chat) {
  const ToolChoice& choice = chat->tool_choice;
  engine::GrammarSpec& grammar = chat->params.grammar;
  const bool forced = !choice.forced.is_null();
  if (!forced && (grammar.empty() || choice.offered.is_null())) return std::nullopt;
  const bool one = choice.one_call || !chat->parallel_tool_calls;
  auto calls = format.CallGrammar(forced ? choice.forced : choice.offered, one ? 1 : -1);
  if (!calls.ok()) {
    return InvalidRequest("tool_choice", "unsupported_value",
                          "Invalid 'tool_choice': " + base::Message(calls.status()));
  }
  grammar = forced ? *std::move(calls)
                   : engine::GrammarSpec{.kind = engine::GrammarSpec::Kind::kChoice,
                                         .parts = {*std::move(calls), std::move(grammar)}};
  return std::nullopt;
}

// A grammar is for the answer, not for the reasoning before it.
void SetReasoning(const engine::Tokenizer& tokenizer, std::string_view prompt,
                  engine::GenerateRequest* request) {
  if (request->grammar.empty()) return;
  if (engine::PromptEndsInThink(prompt)) {
    request->grammar_after = "</think>";
  } else if (tokenizer.TokenToId("<think>") && !engine::PromptEndsThink(prompt)) {
    // The model may begin to reason by itself.
    request->grammar_after = "</think>";
    request->grammar_opener = "<think>";
  }
}

std::optional<ApiError> Prepare(const ServedModel& model, ChatRequest* chat, std::string* prompt,
                                std::vector<engine::GenerateRequest>* requests) {
  if (auto error = RenderChat(model, chat, prompt)) return error;
  if (auto error = AddCalls(FormatFor(model, *chat), chat)) return error;
  engine::GenerateRequest request;
  if (auto error = MakeRequest(model, chat->params, model.engine->tokenizer()->Encode(*prompt),
                               "messages", &request)) {
    return error;
  }
  SetReasoning(*model.engine->tokenizer(), *prompt, &request);
  // Markers of reasoning and of calls may be special tokens: the format's parser needs to see them.
  request.skip_special_tokens = false;
  if (const auto& budget = chat->params.thinking_budget) {
    const engine::Tokenizer& tokenizer = *model.engine->tokenizer();
    const bool open = engine::PromptEndsInThink(*prompt);
    request.thinking_budget = {
        .tokens = *budget,
        .begin = open ? std::vector<engine::TokenId>() : tokenizer.Encode("<think>"),
        .end = tokenizer.Encode("</think>")};
  }
  if (chat->logprobs) request.logprobs = static_cast<int>(chat->top_logprobs);
  AskForPromptLogprobs(chat->params, &request);
  AppendChoices(request, chat->params.n, requests);
  return std::nullopt;
}

}  // namespace

// Conversations with tools may need another format: some templates know none.
const engine::ChatFormat& FormatFor(const ServedModel& model, const ChatRequest& request) {
  const engine::ChatFormat& format = *model.engine->chat_format();
  const bool uses_tools =
      std::any_of(request.messages.begin(), request.messages.end(),
                  [](const auto& m) { return m.role == "tool" || !m.tool_calls.empty(); });
  return uses_tools || !request.options.tools.is_null() ? format.WithTools() : format;
}

std::optional<ApiError> RenderChat(const ServedModel& model, ChatRequest* request,
                                   std::string* out) {
  const engine::Engine& engine = *model.engine;
  if (engine.chat_format() == nullptr) {
    return InvalidRequest("model", "chat_template_missing",
                          "This model has no chat template. Use /v1/completions.");
  }
  const engine::Tokenizer& tokenizer = *engine.tokenizer();
  if (tokenizer.bos()) request->options.bos_token = tokenizer.TokenBytes(*tokenizer.bos());
  if (tokenizer.eos()) request->options.eos_token = tokenizer.TokenBytes(*tokenizer.eos());
  auto prompt = FormatFor(model, *request).Render(request->messages, request->options);
  if (!prompt.ok()) {
    return InvalidRequest(
        "messages", "invalid_value",
        "The model's chat template refuses these messages: " + base::Message(prompt.status()));
  }
  *out = *std::move(prompt);
  return std::nullopt;
}

void RunChat(const std::shared_ptr<const Request>& http, GenerationSetup setup) {
  Json body;
  ChatRequest chat;
  auto error = ParseBody(http->body, {}, &body);
  if (!error) error = ReadChatRequest(body, setup.model->bounds, &chat);
  if (!error) error = CheckModel(*setup.model, chat.model, &chat.params);
  if (error) return PostError(setup, *std::move(error));
  setup.head = setup.model->NewHead("chatcmpl-", chat.model, chat.params);
  auto writer = NewCompletionsWriter(setup.head, chat.params.include_usage);
  StartChat(std::move(chat), std::move(writer), std::move(setup));
}

void StartChat(ChatRequest chat, std::unique_ptr<ChatWriter> writer, GenerationSetup setup) {
  std::string prompt;
  std::vector<engine::GenerateRequest> requests;
  if (auto error = Prepare(*setup.model, &chat, &prompt, &requests)) {
    return PostError(setup, *std::move(error));
  }
  const ChatOutput output{.logprobs = chat.logprobs,
                          .top_logprobs = static_cast<size_t>(chat.top_logprobs),
                          .parallel_tool_calls = chat.parallel_tool_calls,
                          .include_reasoning = chat.include_reasoning,
                          .prompt_ends_in_think = engine::PromptEndsInThink(prompt),
                          .prompt_tokens = static_cast<int64_t>(requests.front().prompt_ids.size()),
                          .format = &FormatFor(*setup.model, chat),
                          .forced_calls = !chat.tool_choice.forced.is_null()};
  setup.params = std::move(chat.params);
  const size_t n = requests.size();
  setup.per_prompt = static_cast<int64_t>(n);
  Generation::Launch(
      std::make_shared<ChatGeneration>(std::move(setup), output, std::move(writer), n),
      std::move(requests));
}

}  // namespace inhouse::model_server

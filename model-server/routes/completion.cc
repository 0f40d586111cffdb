#include "model-server/routes/completion.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <utility>

#include "model-server/api/completion_request.h"
#include "model-server/api/json_limits.h"
#include "model-server/routes/submit.h"

namespace inhouse::model_server {
namespace {

// Above this many scores the answer is written on the worker thread: megabytes of JSON take longer
// than the io thread may be busy.
constexpr size_t kScoresMax = 4096;

struct CompletionOutput {
  bool echo = false;
  bool logprobs = false;
  size_t top_logprobs = 0;
  size_t per_prompt = 1;                  // sequences of one prompt
  size_t kept = 1;                        // of these, in the answer
  std::vector<std::string> prompts = {};  // their texts, with `echo`
};

class CompletionGeneration : public Generation {
 public:
  CompletionGeneration(GenerationSetup setup, CompletionOutput output, size_t sequences)
      : Generation(std::move(setup)), output_(std::move(output)), parts_(sequences) {
    for (size_t i = 0; i < sequences; ++i) {
      TextChoice& choice = parts_[i].choice;
      choice.index = static_cast<int64_t>(i);
      if (output_.echo) choice.text = output_.prompts[i / output_.per_prompt];
      if (output_.logprobs) choice.logprobs.emplace();
    }
  }

 protected:
  void OnTokens(size_t index, engine::TokenEvent& event) override {
    Part& part = parts_[index];
    if (setup().params.prompt_logprobs && !event.prompt_logprobs.empty()) {
      part.choice.prompt_logprobs = PromptLogprobs(event);
    }
    if (output_.logprobs) {
      if (output_.echo) {
        for (const auto& logprob : event.prompt_logprobs) {
          part.choice.logprobs->push_back(Score(logprob, output_.top_logprobs));
        }
      }
      for (const auto& logprob : event.logprobs) {
        part.choice.logprobs->push_back(Score(logprob, output_.top_logprobs));
        part.logprob_sum += std::max<double>(logprob.logprob, -9999);
      }
    } else {
      for (const auto& logprob : event.logprobs) part.logprob_sum += logprob.logprob;
    }
    part.choice.text += event.text;
    if (streams() && !part.choice.text.empty()) Write(part);
  }

  void OnSequenceEnd(size_t index, engine::FinishReason reason) override {
    Part& part = parts_[index];
    part.choice.finish_reason = FinishName(index, reason);
    if (streams()) Write(part);
  }

  void OnAllEnded() override {
    AnswerUsage total;
    for (size_t i = 0; i < parts_.size(); ++i) {
      if (i % output_.per_prompt == 0) {
        total.prompt_tokens += usage(i).prompt_tokens;
        total.cached_tokens += usage(i).cached_tokens;
      }
      total.completion_tokens += usage(i).completion_tokens;
    }
    if (!streams()) return SendAnswer(total);
    std::string last;
    if (setup().params.include_usage) last = UsageChunk(setup().head, kTextObject, total);
    EndStream(last + "data: [DONE]\n\n");
  }

  std::string FinishName(size_t, engine::FinishReason reason) const override {
    return reason == engine::FinishReason::kLength ? "length" : "stop";
  }

 private:
  struct Part {
    TextChoice choice = {};
    double logprob_sum = 0;
  };

  // What has gathered since the last chunk.
  void Write(Part& part) {
    TextChoice piece = part.choice;
    part.choice.text.clear();
    if (part.choice.logprobs) part.choice.logprobs->clear();
    WritePiece(TextChunk(setup().head, piece, setup().params.include_usage));
    for (const TokenScore& score : piece.logprobs.value_or(std::vector<TokenScore>())) {
      if (score.in_text) part.choice.text_offset += CharacterCount(score.token);
    }
  }

  // best_of: of each prompt's sequences, those with the highest mean log probability.
  std::vector<TextChoice> Choose() {
    std::vector<TextChoice> choices;
    for (size_t begin = 0; begin < parts_.size(); begin += output_.per_prompt) {
      std::vector<size_t> order;
      for (size_t i = begin; i < begin + output_.per_prompt; ++i) order.push_back(i);
      const auto mean = [this](size_t i) {
        const auto tokens = static_cast<double>(std::max<int64_t>(usage(i).completion_tokens, 1));
        return parts_[i].logprob_sum / tokens;
      };
      if (output_.kept < output_.per_prompt) {
        std::stable_sort(order.begin(), order.end(),
                         [&](size_t a, size_t b) { return mean(a) > mean(b); });
      }
      for (size_t i = 0; i < output_.kept; ++i) {
        choices.push_back(std::move(parts_[order[i]].choice));
        choices.back().index = static_cast<int64_t>(choices.size()) - 1;
      }
    }
    return choices;
  }

  void SendAnswer(const AnswerUsage& total) {
    std::vector<TextChoice> choices = Choose();
    size_t scores = 0;
    for (const TextChoice& choice : choices) {
      if (choice.logprobs) scores += choice.logprobs->size();
    }
    if (scores <= kScoresMax) {
      return SendWhole({.body = TextAnswer(setup().head, choices, total)});
    }
    auto shared = std::make_shared<std::vector<TextChoice>>(std::move(choices));
    setup().context->worker->AddLast([shared, total, head = setup().head, writer = setup().writer,
                                      loop = setup().context->loop] {
      auto response = std::make_shared<Response>();
      response->body = TextAnswer(head, *shared, total);
      response->headers.Add("Content-Type", "application/json");
      loop->Post([writer, response] { writer->Send(std::move(*response)); });
    });
  }

  const CompletionOutput output_;
  std::vector<Part> parts_;
};

// Fill in the middle, with the tokens that the model was trained with (DeepSeek-Coder paper,
// section 3.1.2; Qwen2.5-Coder and StarCoder README).
struct FimMarkers {
  const char *before, *between, *after;  // before prefix, between prefix and suffix, after suffix
};
constexpr std::array<FimMarkers, 3> kFimMarkers = {{
    {"<｜fim▁begin｜>", "<｜fim▁hole｜>", "<｜fim▁end｜>"},
    {"<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>"},
    {"<fim_prefix>", "<fim_suffix>", "<fim_middle>"},
}};

std::optional<ApiError> FimPrompt(const engine::Tokenizer& tokenizer, const std::string& prefix,
                                  const std::string& suffix, std::string* out) {
  for (const FimMarkers& markers : kFimMarkers) {
    if (tokenizer.TokenToId(markers.before) && tokenizer.TokenToId(markers.between) &&
        tokenizer.TokenToId(markers.after)) {
      *out = markers.before + prefix + markers.between + suffix + markers.after;
      return std::nullopt;
    }
  }
  return InvalidRequest(
      "suffix", "unsupported_parameter",
      "Unsupported parameter: 'suffix'. This model was not trained to fill in the "
      "middle of a text.");
}

std::optional<ApiError> PromptIds(const engine::Tokenizer& tokenizer,
                                  const CompletionRequest& request, const TextOrIds& prompt,
                                  std::vector<engine::TokenId>* out) {
  const engine::EncodeOptions options{.add_special_tokens = request.add_special_tokens};
  const std::string* text = std::get_if<std::string>(&prompt);
  if (text == nullptr) {
    *out = std::get<std::vector<engine::TokenId>>(prompt);
  } else if (!request.suffix) {
    *out = tokenizer.Encode(*text, options);
  } else {
    std::string fim;
    if (auto error = FimPrompt(tokenizer, *text, *request.suffix, &fim)) return error;
    *out = tokenizer.Encode(fim, options);
  }
  return std::nullopt;
}

std::optional<ApiError> Prepare(const Request& http, const ServedModel& model,
                                CompletionRequest* completion, CompletionOutput* output,
                                std::vector<engine::GenerateRequest>* requests) {
  Json body;
  if (auto error = ParseBody(http.body, {}, &body)) return error;
  if (auto error = ReadCompletionRequest(body, model.bounds, completion)) return error;
  if (auto error = CheckModel(model, completion->model, &completion->params)) return error;
  const engine::Tokenizer& tokenizer = *model.engine->tokenizer();
  output->echo = completion->echo;
  output->logprobs = completion->logprobs.has_value();
  output->top_logprobs = static_cast<size_t>(completion->logprobs.value_or(0));
  output->kept = static_cast<size_t>(completion->params.n);
  output->per_prompt = static_cast<size_t>(std::max(completion->params.n, completion->best_of));
  for (const TextOrIds& prompt : completion->prompts) {
    std::vector<engine::TokenId> ids;
    if (auto error = PromptIds(tokenizer, *completion, prompt, &ids)) return error;
    if (completion->echo) {
      const std::string* text = std::get_if<std::string>(&prompt);
      output->prompts.push_back(text != nullptr ? *text : tokenizer.Decode(ids));
    }
    engine::GenerateRequest request;
    if (auto error = MakeRequest(model, completion->params, std::move(ids), "prompt", &request)) {
      return error;
    }
    if (completion->logprobs) request.logprobs = static_cast<int>(*completion->logprobs);
    if (output->kept < output->per_prompt) request.logprobs = std::max(request.logprobs, 0);
    request.prompt_logprobs = completion->echo && completion->logprobs.has_value();
    AskForPromptLogprobs(completion->params, &request);
    AppendChoices(request, static_cast<int64_t>(output->per_prompt), requests);
  }
  return std::nullopt;
}

}  // namespace

void RunCompletion(const std::shared_ptr<const Request>& http, GenerationSetup setup) {
  CompletionRequest completion;
  CompletionOutput output;
  std::vector<engine::GenerateRequest> requests;
  if (auto error = Prepare(*http, *setup.model, &completion, &output, &requests)) {
    return PostError(setup, *std::move(error));
  }
  setup.head = setup.model->NewHead("cmpl-", completion.model, completion.params);
  setup.params = std::move(completion.params);
  setup.per_prompt = static_cast<int64_t>(output.per_prompt);
  const size_t sequences = requests.size();
  Generation::Launch(
      std::make_shared<CompletionGeneration>(std::move(setup), std::move(output), sequences),
      std::move(requests));
}

}  // namespace inhouse::model_server

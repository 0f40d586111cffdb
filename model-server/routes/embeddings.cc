#include "model-server/routes/embeddings.h"

#include <algorithm>
#include <span>
#include <utility>

#include "fmt/format.h"
#include "model-server/api/embeddings.h"
#include "model-server/api/json_limits.h"
#include "model-server/routes/submit.h"

namespace inhouse::model_server {
namespace {

// Above this many numbers the answer is written on the worker thread: megabytes of JSON take longer
// than the io thread may be busy.
constexpr size_t kNumbersMax = 16384;
constexpr size_t kCutIds = 4;

class EmbeddingGeneration : public Generation {
 public:
  EmbeddingGeneration(GenerationSetup setup, const EmbeddingRequest& request, size_t inputs)
      : Generation(std::move(setup)),
        base64_(request.base64),
        dimensions_(request.dimensions),
        vectors_(inputs) {}

 protected:
  bool patient() const override { return true; }
  void OnTokens(size_t index, engine::TokenEvent& event) override {
    vectors_[index] = std::move(event.embedding);
    if (dimensions_) Shorten(*dimensions_, &vectors_[index]);
  }
  void OnSequenceEnd(size_t, engine::FinishReason) override {}
  std::string FinishName(size_t, engine::FinishReason) const override { return "stop"; }

  void OnAllEnded() override {
    int64_t tokens = 0;
    for (size_t i = 0; i < vectors_.size(); ++i) tokens += usage(i).prompt_tokens;
    const size_t numbers = vectors_.size() * vectors_.front().size();
    if (numbers <= kNumbersMax) {
      return SendWhole({.body = EmbeddingAnswer(setup().head.model, base64_, vectors_, tokens)});
    }
    auto shared = std::make_shared<std::vector<std::vector<float>>>(std::move(vectors_));
    setup().context->worker->AddLast([shared, tokens, base64 = base64_, model = setup().head.model,
                                      writer = setup().writer, loop = setup().context->loop] {
      auto response = std::make_shared<Response>();
      response->body = EmbeddingAnswer(model, base64, *shared, tokens);
      response->headers.Add("Content-Type", "application/json");
      loop->Post([writer, response] { writer->Send(std::move(*response)); });
    });
  }

 private:
  const bool base64_;
  const std::optional<int64_t> dimensions_;
  std::vector<std::vector<float>> vectors_;
};

// Whether this model's tokenizer would make these ids of their own text. Those of another tokenizer
// spell other words, cut elsewhere; of very short lists nobody can tell. A client that cuts a long
// text by tokens cuts words: a few ids at the ends of long lists may differ.
bool SeemOurs(const engine::Tokenizer& tokenizer, const std::vector<engine::TokenId>& ids) {
  // A marker in the middle of a text that is no chat is nothing that anybody means.
  for (size_t i = 1; i + 1 < ids.size(); ++i) {
    if (tokenizer.IsSpecial(ids[i])) return false;
  }
  const std::vector<engine::TokenId> again = tokenizer.Encode(tokenizer.Decode(ids));
  const size_t cut = std::min(kCutIds, ids.size() / 8);
  if (cut == 0) return again == ids;
  const std::span inner(ids.begin() + static_cast<std::ptrdiff_t>(cut), ids.size() - 2 * cut);
  for (size_t at = 0; at <= 3 * cut && at + inner.size() <= again.size(); ++at) {
    if (std::equal(inner.begin(), inner.end(), again.begin() + static_cast<std::ptrdiff_t>(at))) {
      return true;
    }
  }
  return false;
}

std::optional<ApiError> InputIds(const ServedModel& model, const EmbeddingRequest& request,
                                 size_t index, std::vector<engine::TokenId>* out) {
  const engine::Tokenizer& tokenizer = *model.engine->tokenizer();
  const TextOrIds& input = request.inputs[index];
  if (const std::string* text = std::get_if<std::string>(&input)) {
    *out = tokenizer.Encode(
        *text, {.add_special_tokens = request.add_special_tokens, .parse_special = false});
    return std::nullopt;
  }
  *out = std::get<std::vector<engine::TokenId>>(input);
  if (SeemOurs(tokenizer, *out)) return std::nullopt;
  const std::string param = request.inputs.size() > 1 ? fmt::format("input[{}]", index) : "input";
  return ForeignIds(param, "this model's tokenizer does not make these token ids of any text");
}

std::optional<ApiError> Prepare(const Request& http, const GenerationSetup& setup,
                                EmbeddingRequest* embedding,
                                std::vector<engine::GenerateRequest>* requests) {
  Json body;
  if (auto error = ParseBody(http.body, {}, &body)) return error;
  const ServedModel& model = *setup.model;
  const engine::ModelInfo& info = model.engine->info();
  if (auto error = ReadEmbeddingRequest(body, info.vocab_size, info.hidden_size, embedding)) {
    return error;
  }
  GenerateParams params;
  if (auto error = CheckModel(model, embedding->model, &params)) return error;
  params.max_tokens = 0;
  params.priority = embedding->priority;
  for (size_t i = 0; i < embedding->inputs.size(); ++i) {
    std::vector<engine::TokenId> ids;
    if (auto error = InputIds(model, *embedding, i, &ids)) return error;
    engine::GenerateRequest request;
    if (auto error = MakeRequest(model, params, std::move(ids), "input", &request)) return error;
    request.pooling = setup.context->options.pooling;
    requests->push_back(std::move(request));
  }
  return std::nullopt;
}

}  // namespace

void RunEmbeddings(const std::shared_ptr<const Request>& http, GenerationSetup setup) {
  EmbeddingRequest embedding;
  std::vector<engine::GenerateRequest> requests;
  if (auto error = Prepare(*http, setup, &embedding, &requests)) {
    return PostError(setup, *std::move(error));
  }
  setup.head.model = embedding.model;
  const size_t inputs = requests.size();
  Generation::Launch(std::make_shared<EmbeddingGeneration>(std::move(setup), embedding, inputs),
                     std::move(requests));
}

}  // namespace inhouse::model_server

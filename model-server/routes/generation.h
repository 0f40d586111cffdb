// One HTTP request that is being answered: its sequences, from the engine's acceptance to the last
// byte.
#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "model-server/api/record.h"
#include "model-server/routes/context.h"

namespace inhouse::model_server {

using SteadyTime = std::chrono::steady_clock::time_point;

// What belongs to every kind of answer.
struct GenerationSetup {
  Context* context = nullptr;
  ModelRef model = {};  // never null; that of the request's beginning, whatever is served later
  std::shared_ptr<ResponseWriter> writer = {};
  std::shared_ptr<Call> call = {};  // never null
  std::string request_id = {};      // x-request-id
  AnswerHead head = {};
  GenerateParams params = {};
  int64_t per_prompt = 1;  // sequences that share a prompt
  SteadyTime arrival = {};
};

// The base of chat and text answers: submits, sorts events by sequence, measures, cancels when the
// client leaves, keeps a silent stream alive. After Launch it lives on the io thread.
class Generation : public std::enable_shared_from_this<Generation> {
 public:
  explicit Generation(GenerationSetup setup);
  virtual ~Generation();

  // On the worker thread: submits every sequence, or answers with the guard's refusal (the key may
  // not use the model, or has no tokens left) or the engine's. Of a patient one, only the first
  // few; the others follow as these end.
  static void Launch(const std::shared_ptr<Generation>& generation,
                     std::vector<engine::GenerateRequest> requests);

  void Tick(SteadyTime now);          // sends a comment if the stream was silent for long
  void Abort(const ApiError& error);  // ends the answer with an error

 protected:
  // Whether it has so many short sequences that they take turns, instead of asking the engine's
  // queue for room for all.
  virtual bool patient() const { return false; }
  // The head of the stream was sent.
  virtual void OnStreamStart() {}
  // What a stream says instead of its end.
  virtual std::string ErrorEvent(const ApiError& error) { return SseEvent(ErrorJson(error)); }
  // One sequence's new tokens; called in order.
  virtual void OnTokens(size_t index, engine::TokenEvent& event) = 0;
  // No more tokens of that sequence. `reason` is kStop or kLength.
  virtual void OnSequenceEnd(size_t index, engine::FinishReason reason) = 0;
  // All sequences have ended: the whole answer, or the end of the stream.
  virtual void OnAllEnded() = 0;
  // For metrics: what the answer says about that sequence.
  virtual std::string FinishName(size_t index, engine::FinishReason reason) const = 0;

  void WritePiece(std::string piece);
  void EndStream(std::string last);
  void SendWhole(Response response);
  bool streams() const { return setup_.params.stream; }
  const GenerationSetup& setup() const { return setup_; }
  size_t sequence_count() const { return sequences_.size(); }
  const engine::Usage& usage(size_t index) const { return sequences_[index].usage; }
  // With at most `top_max` alternatives.
  TokenScore Score(const engine::TokenLogprob& logprob, size_t top_max) const;
  // What `prompt_logprobs` asks for, of the event that has it.
  std::string PromptLogprobs(const engine::TokenEvent& event) const;

 private:
  struct Sequence {
    std::unique_ptr<engine::Session> session = {};
    engine::Usage usage = {};
    int64_t max_tokens = 0;
    std::optional<SteadyTime> first_token = {};
    SteadyTime last_token = {};
    SteadyTime submitted_at = {};
    bool submitted = false;
    bool ended = false;
    std::unique_ptr<SequenceRecord> record = {};  // null: it is not kept
  };

  absl::StatusOr<std::unique_ptr<engine::Session>> Submit(size_t index,
                                                          engine::GenerateRequest request);
  void SubmitLater();  // what has waited for its turn
  void Start(std::vector<std::unique_ptr<engine::Session>> sessions);
  void OnEvent(size_t index, engine::TokenEvent event);
  void MeasureTokens(Sequence& sequence);
  void RecordEnd(size_t index, const engine::TokenEvent& event, std::string finish_name);
  void RecordCall(size_t index, const monitoring::RequestRecord& record);
  void RecordTrace(size_t index, const monitoring::RequestRecord& record);
  void BeginRecord(std::vector<engine::GenerateRequest>* requests);
  void KeepRecord();
  void OnClientGone();
  void Leave();  // drops the sessions, which cancels them

  GenerationSetup setup_;
  std::vector<Sequence> sequences_ = {};
  std::vector<std::pair<size_t, engine::TokenEvent>> early_ = {};      // before Start
  std::deque<std::pair<size_t, engine::GenerateRequest>> later_ = {};  // not yet submitted
  size_t running_ = 0;  // sequences that have not ended
  bool started_ = false;
  bool left_ = false;
  std::shared_ptr<AnswerRecord> record_ = {};  // null: the answer is not kept
  SteadyTime last_write_ = {};
};

}  // namespace inhouse::model_server

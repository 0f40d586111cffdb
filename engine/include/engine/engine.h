// The front door of the inference library: load a model, submit requests, receive tokens.
//
//   auto engine = Engine::Load({.model = "/models/DeepSeek-R1-Distill-Qwen-7B"});
//   auto session = (*engine)->Submit({.prompt_ids = ids, .max_tokens = 256}, on_event);
//
// Threads: one engine thread owned by the Engine runs the steps; Submit, Cancel and the accessors
// may be called from any thread.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/ops/step_profile.h"
#include "engine/prompt/chat.h"
#include "engine/sampling/grammar/grammar_spec.h"
#include "engine/sampling/sampling_options.h"
#include "engine/tokenizer/tokenizer.h"

namespace inhouse::engine {

// A PEFT LoRA adapter: requests choose it by name.
struct AdapterSource {
  std::string name = {};
  std::string path = {};  // a directory with adapter_config.json and adapter_model.safetensors
};

struct EngineOptions {
  std::string model = {};  // directory, .gguf, or first file of a split GGUF
  int threads = 0;         // 0: the physical cores that the process may use
  std::string isa = {};    // kernel level by name; "" = best supported
  // Of the activations that meet weights stored as integers: 16, or 8 for a faster prefill that
  // costs accuracy (docs/decisions/0008). Other weights do not care.
  int activation_bits = 16;
  int64_t context_tokens = 0;    // of one sequence; 0: the model's own, as far as memory allows
  std::string kv_type = "auto";  // of the KV cache: f32, f16, bf16, fp8; auto: as the weights ask
  int64_t kv_bytes = 0;          // for all sequences; 0: enough for one whole context, or what fits
  int64_t kv_tokens = 0;         // instead of kv_bytes: so many tokens, or as many as fit
  int max_sequences = 16;        // that run at the same time
  int64_t prefill_chunk = 512;   // prompt tokens of one step at most
  // A step in which answers go on should take no longer: long prompts are computed in smaller
  // pieces meanwhile, as measured on the way. It cannot be kept where a step without prompts takes
  // longer.
  double step_ms = 250;
  int queue_max = 256;       // waiting requests; more are refused
  bool prefix_cache = true;  // prompts share the pages of prefixes that were computed before
  std::vector<AdapterSource> adapters = {};  // loaded with the model
  int adapters_max = 8;                      // at the same time, also those loaded later
  int64_t adapter_rank_max = 0;  // of one loaded later; 0: no greater than those of `adapters`
  int64_t adapter_bytes = 0;     // for all adapters, reserved; 0: what memory is left
  // Where prefixes are kept beyond memory and restarts, encrypted; "" = nowhere. Several models may
  // share the directory; of engines with the same model, one at a time uses it.
  std::string kv_disk = {};
  int64_t kv_disk_bytes = int64_t{10} << 30;
  std::string kv_disk_key = {};  // a secret of 32 bytes or more
  // Pages of another build may differ in their last bits, and are not used; "" = this program's.
  std::string build = {};
  bool profile = false;  // measure where the time of steps goes: Engine::profile()
  // A file of SavePacked (engine/pack.h) whose panels are mapped; refused if it does not fit the
  // model. Without one, `packed_cache` is a directory where such a file is looked for; what does
  // not fit there is passed over. "" = weights are packed at each load.
  std::string packed = {};
  std::string packed_cache = {};
  bool need_tokenizer = true;  // false: a checkpoint without a tokenizer is accepted; stop strings
                               // and text are unavailable
};

// How the final hidden states of a prompt become one vector.
enum class Pooling : uint8_t { kMean, kLast };

struct GenerateRequest {
  std::vector<TokenId> prompt_ids = {};
  // On whose behalf: pages of prefixes are shared within a tenant only. Given by the server from
  // what it knows of the client, never by the client.
  std::string tenant = {};
  int priority = 0;             // lower numbers are served first, as in vLLM
  std::string cache_salt = {};  // the client's own: separates its prefixes further
  std::string adapter = {};     // the name of a loaded one; "": the base model
  SamplingOptions sampling = {};
  int64_t max_tokens = 16;             // >= 0; bounded by the context
  int64_t min_tokens = 0;              // no end token before
  std::vector<std::string> stop = {};  // the answer ends before the first of these
  std::vector<TokenId> stop_ids = {};  // in addition to the model's own end tokens
  // Only these are chosen, end tokens among them if they are named; none: all. Where a grammar
  // leaves none of them, the grammar decides.
  std::vector<TokenId> allowed_ids = {};
  // The last token of such a row is not chosen where its others were the last of the answer.
  std::vector<std::vector<TokenId>> bad_sequences = {};
  // Where the answer starts inside of reasoning, or opens it with the tokens `begin`: after so many
  // tokens, if it has not ended with the tokens `end`, these are put in.
  struct ThinkingBudget {
    int64_t tokens = 0;
    std::vector<TokenId> begin = {};  // empty: the prompt has opened it
    std::vector<TokenId> end = {};
  };
  std::optional<ThinkingBudget> thinking_budget = {};
  bool ignore_eos = false;
  bool include_stop = false;        // keep the stop string in the text
  bool skip_special_tokens = true;  // in the text
  int logprobs = -1;                // -1 = none, else how many alternatives for each token (0..20)
  int64_t assume_cached = 0;        // for measurements: so many first tokens of the prompt count as
                              // cached without having been computed, so the answer means nothing
  bool prompt_logprobs = false;  // also for the prompt's tokens (with `logprobs` >= 0)
  // Set: no token is generated; the last event has the prompt's embedding, and what is said above
  // about tokens and text does not count.
  std::optional<Pooling> pooling = {};
  // What the answer's text must be. End tokens come only where it is complete, and where nothing
  // else may follow the answer ends by itself (kStop).
  GrammarSpec grammar = {};
  // The grammar holds for what comes behind this text ("</think>" when the prompt has opened the
  // reasoning); "" = from the beginning.
  std::string grammar_after = {};
  // A token that the answer may begin with instead; then the grammar holds behind grammar_after.
  std::string grammar_opener = {};
};

enum class FinishReason : uint8_t { kNone, kStop, kLength, kCancelled, kError };

struct Usage {
  int64_t prompt_tokens = 0;
  int64_t cached_tokens = 0;  // of the prompt, taken from the cache
  int64_t completion_tokens = 0;
};

struct Timings {
  double queue_ms = 0;
  double prefill_ms = 0;  // from the start of the first step to the first token
  double decode_ms = 0;   // from the first token to the last
};

// What a session reports. In order: at most one event with prompt_logprobs, then tokens, then
// exactly one with finish != kNone.
struct TokenEvent {
  std::vector<TokenId> ids = {};  // new tokens
  std::string text = {};  // text that became final: whole characters, never part of a stop string
  std::vector<TokenLogprob> logprobs = {};  // one per id, if asked for
  std::vector<TokenLogprob> prompt_logprobs =
      {};  // one per prompt token; the first has no probability (NaN)
  // [hidden_size], of length 1: the hidden states behind the final norm, pooled. With the last
  // event, if asked for. The same bytes in any batch and any chunking.
  std::vector<float> embedding = {};
  FinishReason finish = FinishReason::kNone;
  std::string stop_string = {};           // with kStop: which stop string, if it was one
  absl::Status error = absl::OkStatus();  // with kError
  Usage usage = {};                       // so far
  Timings timings = {};                   // with the last event
};

// Called on the engine thread: must return quickly and must not call back into the engine, except
// for Cancel.
using EventCallback = std::function<void(TokenEvent)>;

// One request in flight. Destroying it cancels the request; its callback may still be called until
// the event with kCancelled.
class Session {
 public:
  virtual ~Session() = default;
  virtual void Cancel() = 0;  // takes effect between two steps
};

struct AdapterInfo {
  std::string name = {};
  std::string path = {};
  std::string base_model = {};   // as its config says
  int64_t rank = 0;              // the largest of its modules
  int64_t bytes = 0;             // in memory
  std::string fingerprint = {};  // SHA-256 of its files
};

// Requests in flight with one adapter.
struct AdapterUse {
  std::string name = {};
  int64_t running = 0;
  int64_t waiting = 0;
};

struct ByteSize {
  int64_t weights = 0;       // packed, as it will be in memory
  int64_t kv_per_token = 0;  // of one sequence
  std::string kv_type = {};  // "f16", as EngineOptions::kv_type names them
  int64_t kv = 0;            // pages in all
  int64_t scratch = 0;
  int64_t adapters = 0;  // those loaded with the model, or what is reserved for all
};

// One kind of matrix product of a model, over all layers.
struct ProductInfo {
  OpClass op = OpClass::kOther;
  int64_t weight_bytes = 0;     // in memory, packed
  int64_t ops = 0;              // multiplications and additions for one token
  std::string arithmetic = {};  // the unit that computes it: "f32", "bf16", "int8", "int4"
};

// Where the time of Load went, and what it used.
struct LoadReport {
  double open_ms = 0;     // files mapped, headers read
  double bind_ms = 0;     // tensors found and checked; tokenizer; byte plan
  double weights_ms = 0;  // packed, or mapped and looked at
  double buffers_ms = 0;
  double total_ms = 0;
  int64_t stored_bytes = 0;  // of the packed matrices in the model's files
  std::string packed = {};   // the file whose panels are mapped; "" = packed by this load
  std::string problem = {};  // why a file of the cache was passed over
};

struct ModelInfo {
  std::string path = {};
  std::string name = {};          // file or directory name
  std::string digest = {};        // SHA-256 of what decides about its results (model_digest.h)
  std::string architecture = {};  // "llama", "qwen2", ...
  int64_t parameters_total = 0;
  int64_t parameters_active = 0;
  int64_t vocab_size = 0;
  int64_t layers = 0;
  int64_t hidden_size = 0;
  int64_t context_tokens = 0;        // of one sequence, as served
  int64_t model_context_tokens = 0;  // as trained
  std::string isa = {};
  int activation_bits = 16;
  int threads = 0;
  ByteSize bytes = {};
  LoadReport load = {};
  std::vector<ProductInfo> products = {};  // in the order of a step; the head is computed only for
                                           // tokens whose logits are wanted
  std::vector<TokenId> end_tokens = {};
  SamplingOptions default_sampling = {};  // from generation_config.json
};

// Counters and gauges since the start; one consistent snapshot.
struct EngineStats {
  int64_t running = 0;
  int64_t waiting = 0;
  int64_t kv_pages_used = 0;    // by requests; without those that are only kept for later ones
  int64_t kv_pages_cached = 0;  // kept for later ones: given up when a request needs them
  int64_t kv_pages_total = 0;
  int64_t prompt_tokens = 0;  // computed
  int64_t generation_tokens = 0;
  int64_t prefix_queries = 0;  // prompt tokens that were looked for in the prefix tree
  int64_t prefix_hits = 0;     // and found there
  int64_t disk_queries = 0;    // of these, looked for on disk before
  int64_t disk_hits = 0;       // and read from there
  bool disk_ready = false;     // false: none, or another engine with this model has it
  int64_t disk_bytes = 0;
  int64_t disk_refused = 0;  // files that were damaged: deleted
  int64_t disk_read_errors = 0;
  int64_t disk_write_errors = 0;
  int64_t disk_dropped = 0;  // pages that were not saved because the disk did not keep up
  int64_t steps = 0;
  int64_t preemptions = 0;
  double oldest_waiting_seconds = 0;
  int64_t adapters_max = 0;
  std::vector<AdapterUse> adapters = {};  // that requests in flight use, by name
};

struct LogitsOptions {
  bool all = false;          // a row for each position, else one for the last
  int64_t chunk = 0;         // tokens fed at a time; 0 = all at once
  std::string adapter = {};  // as in GenerateRequest
  // If set, gets each row (its position, its logits, which are gone when it returns) on the engine
  // thread, and no rows are returned: for vocabularies of which many rows would not fit.
  std::function<void(int64_t position, std::span<const float> logits)> on_row = {};
};

// What a request gets that names no seed; for who has to know it beforehand. Any thread.
uint64_t RandomSeed();

class Engine {
 public:
  // `progress` is told bytes done and bytes in all while weights are packed; false gives up.
  using Progress = std::function<bool(int64_t done, int64_t total)>;

  // Errors name the file and the field. ResourceExhausted with the byte plan if the model does not
  // fit in memory, Cancelled if `progress` said so.
  static absl::StatusOr<std::unique_ptr<Engine>> Load(const EngineOptions& options,
                                                      const Progress& progress = {});
  virtual ~Engine() = default;  // cancels what is in flight and waits for the engine thread

  // InvalidArgument for what the model cannot do (ids outside the vocabulary, prompt beyond the
  // context, parameters out of range: the `field` payload of the status names the member), NotFound
  // for an adapter that is not loaded,
  // ResourceExhausted if the queue is full, Unavailable while draining.
  virtual absl::StatusOr<std::unique_ptr<Session>> Submit(GenerateRequest request,
                                                          EventCallback on_event) = 0;

  // Stops accepting requests; those in flight go on. Returns when all have ended or the deadline
  // has passed.
  virtual void Drain(double seconds_max) = 0;

  // Logits [rows][vocab] of a prompt, through the cache. Blocks; runs between steps of other
  // requests.
  virtual absl::StatusOr<std::vector<std::vector<float>>> Logits(std::span<const TokenId> ids,
                                                                 const LogitsOptions& options) = 0;

  // Loads an adapter while requests run. InvalidArgument or NotFound that names file and tensor,
  // AlreadyExists if the name is taken and not to be replaced, ResourceExhausted beyond the limits.
  // Blocks; requests that hold a replaced adapter keep it.
  virtual absl::StatusOr<AdapterInfo> LoadAdapter(const AdapterSource& source, bool replace) = 0;
  // New requests don't find it any more, those in flight end with it; then its memory is free.
  // NotFound if there is none.
  virtual absl::Status UnloadAdapter(const std::string& name) = 0;
  virtual std::vector<AdapterInfo> adapters() const = 0;

  virtual const ModelInfo& info() const = 0;
  virtual EngineStats stats() const = 0;
  // With EngineOptions::profile: sums over all steps whose tokens have been reported.
  virtual StepProfile profile() const = 0;
  virtual const Tokenizer* tokenizer() const = 0;  // null if the checkpoint has none
  virtual const ChatFormat* chat_format()
      const = 0;  // null if the checkpoint has no template and no known format
};

}  // namespace inhouse::engine

#include "model-server/api/record.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <optional>
#include <stdexcept>
#include <utility>

#include "base/sha256.h"
#include "base/status.h"
#include "fmt/format.h"
#include "nlohmann/json.hpp"

namespace inhouse::model_server {
namespace {

using Json = nlohmann::ordered_json;
using engine::GrammarSpec;
using engine::TokenLogprob;

constexpr int kRecordVersion = 1;
constexpr int kSpecDepthMax = 64;

// JSON has no words for the others.
Json FloatJson(float value) {
  if (std::isfinite(value)) return value;
  return std::isnan(value) ? "nan" : value > 0 ? "inf" : "-inf";
}

float ReadFloat(const Json& json) {
  if (!json.is_string()) return json.get<float>();
  const auto text = json.get<std::string>();
  if (text == "nan") return std::numeric_limits<float>::quiet_NaN();
  const float infinity = std::numeric_limits<float>::infinity();
  return text == "-inf" ? -infinity : infinity;
}

// [id, logprob, [[id, logprob], ...]]
Json LogprobsJson(const std::vector<TokenLogprob>& logprobs) {
  Json list = Json::array();
  for (const TokenLogprob& entry : logprobs) {
    Json top = Json::array();
    for (const auto& [id, value] : entry.top) top.push_back(Json::array({id, FloatJson(value)}));
    list.push_back(Json::array({entry.id, FloatJson(entry.logprob), std::move(top)}));
  }
  return list;
}

std::vector<TokenLogprob> ReadLogprobs(const Json& json) {
  std::vector<TokenLogprob> logprobs;
  for (const Json& entry : json) {
    TokenLogprob& logprob = logprobs.emplace_back();
    logprob.id = entry.at(0).get<int32_t>();
    logprob.logprob = ReadFloat(entry.at(1));
    for (const Json& other : entry.at(2)) {
      logprob.top.emplace_back(other.at(0).get<int32_t>(), ReadFloat(other.at(1)));
    }
  }
  return logprobs;
}

Json SamplingJson(const engine::SamplingOptions& s) {
  Json json = {{"temperature", s.temperature},
               {"top_k", s.top_k},
               {"top_p", s.top_p},
               {"min_p", s.min_p},
               {"repetition_penalty", s.repetition_penalty},
               {"presence_penalty", s.presence_penalty},
               {"frequency_penalty", s.frequency_penalty},
               {"logit_bias", s.logit_bias}};
  json["seed"] = s.seed.value_or(0);
  return json;
}

void ReadSampling(const Json& json, engine::SamplingOptions* s) {
  json.at("temperature").get_to(s->temperature);
  json.at("top_k").get_to(s->top_k);
  json.at("top_p").get_to(s->top_p);
  json.at("min_p").get_to(s->min_p);
  json.at("repetition_penalty").get_to(s->repetition_penalty);
  json.at("presence_penalty").get_to(s->presence_penalty);
  json.at("frequency_penalty").get_to(s->frequency_penalty);
  json.at("logit_bias").get_to(s->logit_bias);
  s->seed = json.at("seed").get<uint64_t>();
}

constexpr std::pair<GrammarSpec::Kind, const char*> kSpecKinds[] = {
    {GrammarSpec::Kind::kNone, "none"},
    {GrammarSpec::Kind::kText, "text"},
    {GrammarSpec::Kind::kMarker, "marker"},
    {GrammarSpec::Kind::kJsonValue, "json_value"},
    {GrammarSpec::Kind::kJsonObject, "json_object"},
    {GrammarSpec::Kind::kJsonSchema, "json_schema"},
    {GrammarSpec::Kind::kRegex, "regex"},
    {GrammarSpec::Kind::kEbnf, "ebnf"},
    {GrammarSpec::Kind::kSequence, "sequence"},
    {GrammarSpec::Kind::kChoice, "choice"},
    {GrammarSpec::Kind::kRepeat, "repeat"},
};

Json SpecJson(const GrammarSpec& spec) {
  const auto* const kind =
      std::ranges::find(kSpecKinds, spec.kind, [](auto& k) { return k.first; });
  Json parts = Json::array();
  for (const GrammarSpec& part : spec.parts) parts.push_back(SpecJson(part));
  return {{"kind", kind->second},     {"text", spec.text}, {"label", spec.label},
          {"strict", spec.strict},    {"min", spec.min},   {"max", spec.max},
          {"parts", std::move(parts)}};
}

GrammarSpec ReadSpec(const Json& json, int depth) {
  if (depth > kSpecDepthMax) throw std::runtime_error("a grammar of fewer levels");
  GrammarSpec spec;
  const auto name = json.at("kind").get<std::string>();
  const auto* const kind = std::ranges::find(kSpecKinds, name, [](auto& k) { return k.second; });
  if (kind == std::end(kSpecKinds)) throw std::runtime_error("a known kind of grammar");
  spec.kind = kind->first;
  json.at("text").get_to(spec.text);
  json.at("label").get_to(spec.label);
  json.at("strict").get_to(spec.strict);
  json.at("min").get_to(spec.min);
  json.at("max").get_to(spec.max);
  for (const Json& part : json.at("parts")) spec.parts.push_back(ReadSpec(part, depth + 1));
  return spec;
}

constexpr const char* kPoolings[] = {"mean", "last"};

Json RequestJson(const engine::GenerateRequest& r) {
  Json json = {{"prompt_ids", r.prompt_ids},
               {"adapter", r.adapter},
               {"sampling", SamplingJson(r.sampling)},
               {"max_tokens", r.max_tokens},
               {"min_tokens", r.min_tokens},
               {"stop", r.stop},
               {"stop_ids", r.stop_ids},
               {"allowed_ids", r.allowed_ids},
               {"bad_sequences", r.bad_sequences},
               {"ignore_eos", r.ignore_eos},
               {"include_stop", r.include_stop},
               {"skip_special_tokens", r.skip_special_tokens},
               {"logprobs", r.logprobs},
               {"prompt_logprobs", r.prompt_logprobs}};
  if (r.thinking_budget) {
    json["thinking_budget"] = {{"tokens", r.thinking_budget->tokens},
                               {"begin", r.thinking_budget->begin},
                               {"end", r.thinking_budget->end}};
  }
  if (r.pooling) json["pooling"] = kPoolings[*r.pooling == engine::Pooling::kLast ? 1 : 0];
  if (!r.grammar.empty()) {
    json["grammar"] = SpecJson(r.grammar);
    json["grammar_after"] = r.grammar_after;
    json["grammar_opener"] = r.grammar_opener;
  }
  return json;
}

engine::GenerateRequest ReadRequest(const Json& json) {
  engine::GenerateRequest r;
  json.at("prompt_ids").get_to(r.prompt_ids);
  json.at("adapter").get_to(r.adapter);
  ReadSampling(json.at("sampling"), &r.sampling);
  json.at("max_tokens").get_to(r.max_tokens);
  json.at("min_tokens").get_to(r.min_tokens);
  json.at("stop").get_to(r.stop);
  json.at("stop_ids").get_to(r.stop_ids);
  json.at("allowed_ids").get_to(r.allowed_ids);
  json.at("bad_sequences").get_to(r.bad_sequences);
  json.at("ignore_eos").get_to(r.ignore_eos);
  json.at("include_stop").get_to(r.include_stop);
  json.at("skip_special_tokens").get_to(r.skip_special_tokens);
  json.at("logprobs").get_to(r.logprobs);
  json.at("prompt_logprobs").get_to(r.prompt_logprobs);
  if (const auto budget = json.find("thinking_budget"); budget != json.end()) {
    r.thinking_budget = engine::GenerateRequest::ThinkingBudget{};
    budget->at("tokens").get_to(r.thinking_budget->tokens);
    budget->at("begin").get_to(r.thinking_budget->begin);
    budget->at("end").get_to(r.thinking_budget->end);
  }
  if (const auto pooling = json.find("pooling"); pooling != json.end()) {
    r.pooling = *pooling == kPoolings[1] ? engine::Pooling::kLast : engine::Pooling::kMean;
  }
  if (const auto grammar = json.find("grammar"); grammar != json.end()) {
    r.grammar = ReadSpec(*grammar, 0);
    json.at("grammar_after").get_to(r.grammar_after);
    json.at("grammar_opener").get_to(r.grammar_opener);
  }
  return r;
}

Json OutputJson(const SequenceOutput& output) {
  Json json = {{"ids", output.ids},
               {"text", output.text},
               {"finish_reason", output.finish_reason},
               {"stop_string", output.stop_string}};
  if (!output.logprobs.empty()) json["logprobs"] = LogprobsJson(output.logprobs);
  if (!output.prompt_logprobs.empty()) {
    json["prompt_logprobs"] = LogprobsJson(output.prompt_logprobs);
  }
  if (!output.embedding_sha256.empty()) json["embedding_sha256"] = output.embedding_sha256;
  return json;
}

SequenceOutput ReadOutput(const Json& json) {
  SequenceOutput output;
  json.at("ids").get_to(output.ids);
  json.at("text").get_to(output.text);
  json.at("finish_reason").get_to(output.finish_reason);
  json.at("stop_string").get_to(output.stop_string);
  output.logprobs = ReadLogprobs(json.value("logprobs", Json::array()));
  output.prompt_logprobs = ReadLogprobs(json.value("prompt_logprobs", Json::array()));
  output.embedding_sha256 = json.value("embedding_sha256", "");
  return output;
}

Json EngineJson(const RecordedEngine& e) {
  Json json = {{"version", e.version},       {"commit", e.commit},
               {"build", e.build},           {"isa", e.isa},
               {"model_path", e.model_path}, {"model_sha256", e.model_sha256},
               {"kv_type", e.kv_type},       {"activation_bits", e.activation_bits}};
  if (!e.adapter.name.empty()) {
    json["adapter"] = {
        {"name", e.adapter.name}, {"path", e.adapter.path}, {"sha256", e.adapter_sha256}};
  }
  return json;
}

RecordedEngine ReadEngine(const Json& json) {
  RecordedEngine e;
  json.at("version").get_to(e.version);
  json.at("commit").get_to(e.commit);
  json.at("build").get_to(e.build);
  json.at("isa").get_to(e.isa);
  json.at("model_path").get_to(e.model_path);
  json.at("model_sha256").get_to(e.model_sha256);
  json.at("kv_type").get_to(e.kv_type);
  json.at("activation_bits").get_to(e.activation_bits);
  if (const auto adapter = json.find("adapter"); adapter != json.end()) {
    adapter->at("name").get_to(e.adapter.name);
    adapter->at("path").get_to(e.adapter.path);
    adapter->at("sha256").get_to(e.adapter_sha256);
  }
  return e;
}

bool SameBits(float a, float b) { return std::bit_cast<uint32_t>(a) == std::bit_cast<uint32_t>(b); }

bool SameLogprob(const TokenLogprob& a, const TokenLogprob& b) {
  const auto same = [](const auto& x, const auto& y) {
    return x.first == y.first && SameBits(x.second, y.second);
  };
  return a.id == b.id && SameBits(a.logprob, b.logprob) && std::ranges::equal(a.top, b.top, same);
}

std::string DifferentLogprobs(const char* what, const std::vector<TokenLogprob>& now,
                              const std::vector<TokenLogprob>& recorded) {
  const auto [a, b] = std::ranges::mismatch(now, recorded, SameLogprob);
  if (a == now.end() && b == recorded.end()) return "";
  if (a == now.end() || b == recorded.end() || a->id != b->id || SameBits(a->logprob, b->logprob)) {
    return fmt::format("{} {}: other candidates", what, a - now.begin());
  }
  return fmt::format("{} {}: {} now, {} recorded", what, a - now.begin(), a->logprob, b->logprob);
}

}  // namespace

void SequenceOutput::Append(const engine::TokenEvent& event) {
  ids.insert(ids.end(), event.ids.begin(), event.ids.end());
  text += event.text;
  logprobs.insert(logprobs.end(), event.logprobs.begin(), event.logprobs.end());
  prompt_logprobs.insert(prompt_logprobs.end(), event.prompt_logprobs.begin(),
                         event.prompt_logprobs.end());
  if (!event.embedding.empty()) {
    base::Sha256 hash;
    hash.Update(std::as_bytes(std::span(event.embedding)));
    embedding_sha256 = hash.FinishHex();
  }
  if (event.finish == engine::FinishReason::kStop) finish_reason = "stop";
  if (event.finish == engine::FinishReason::kLength) finish_reason = "length";
  if (!event.stop_string.empty()) stop_string = event.stop_string;
}

std::string FirstDifference(const SequenceOutput& now, const SequenceOutput& recorded) {
  const auto [a, b] = std::ranges::mismatch(now.ids, recorded.ids);
  if (a != now.ids.end() || b != recorded.ids.end()) {
    const auto name = [](const auto& at, const auto& list) {
      return at == list.end() ? std::string("the end") : std::to_string(*at);
    };
    return fmt::format("token {}: {} now, {} recorded", a - now.ids.begin(), name(a, now.ids),
                       name(b, recorded.ids));
  }
  if (now.text != recorded.text) {
    const auto byte = std::ranges::mismatch(now.text, recorded.text).in1 - now.text.begin();
    return fmt::format("the tokens are the same, the text differs from byte {} on", byte);
  }
  for (const auto& [what, one, other] :
       {std::tuple{"log probability of prompt token", &now.prompt_logprobs,
                   &recorded.prompt_logprobs},
        std::tuple{"log probability of token", &now.logprobs, &recorded.logprobs}}) {
    if (std::string found = DifferentLogprobs(what, *one, *other); !found.empty()) return found;
  }
  if (now.embedding_sha256 != recorded.embedding_sha256) return "the embedding differs";
  if (now.finish_reason != recorded.finish_reason || now.stop_string != recorded.stop_string) {
    return fmt::format("finish reason: {} '{}' now, {} '{}' recorded", now.finish_reason,
                       now.stop_string, recorded.finish_reason, recorded.stop_string);
  }
  return "";
}

std::string RecordJson(const AnswerRecord& record) {
  Json sequences = Json::array();
  for (const SequenceRecord& sequence : record.sequences) {
    sequences.push_back(
        {{"request", RequestJson(sequence.request)}, {"output", OutputJson(sequence.output)}});
  }
  const Json json = {{"record", kRecordVersion},         {"id", record.id},
                     {"request_id", record.request_id},  {"model", record.model},
                     {"created", record.created},        {"engine", EngineJson(record.engine)},
                     {"sequences", std::move(sequences)}};
  return json.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
}

absl::StatusOr<AnswerRecord> ParseRecord(const std::string& path, std::string_view text) {
  const Json json = Json::parse(text, nullptr, false);
  if (!json.is_object() || json.value("record", Json()) != kRecordVersion) {
    return base::InvalidInput(
        {.file = path, .field = "record", .expected = "a record of version 1, as JSON"});
  }
  AnswerRecord record;
  try {  // the library throws for what is missing or of another type, and names it
    json.at("id").get_to(record.id);
    json.at("request_id").get_to(record.request_id);
    json.at("model").get_to(record.model);
    json.at("created").get_to(record.created);
    record.engine = ReadEngine(json.at("engine"));
    for (const Json& sequence : json.at("sequences")) {
      record.sequences.push_back({.request = ReadRequest(sequence.at("request")),
                                  .output = ReadOutput(sequence.at("output"))});
    }
  } catch (const std::exception& error) {
    return base::InvalidInput(
        {.file = path, .expected = std::string("every field of a record: ") + error.what()});
  }
  return record;
}

}  // namespace inhouse::model_server

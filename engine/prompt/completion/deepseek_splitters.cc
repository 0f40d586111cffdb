// The three ways in which DeepSeek models write calls.
#include <string>
#include <vector>

#include "engine/prompt/completion/block_splitter.h"
#include "engine/prompt/jinja/json.h"

namespace inhouse::engine {
namespace {

constexpr const char* kCallsBegin = "<｜tool▁calls▁begin｜>";
constexpr const char* kCallsEnd = "<｜tool▁calls▁end｜>";
constexpr const char* kCallBegin = "<｜tool▁call▁begin｜>";
constexpr const char* kCallEnd = "<｜tool▁call▁end｜>";
constexpr const char* kSeparator = "<｜tool▁sep｜>";

// Reads markers from the front of a text. After the first failure everything fails.
class Reader {
 public:
  explicit Reader(std::string_view text) : text_(text) {}

  bool Expect(std::string_view marker) {
    if (failed()) return false;
    const std::string_view rest = text_.substr(at_);
    if (rest.starts_with(marker)) {
      at_ += marker.size();
      return true;
    }
    (marker.starts_with(rest) ? need_more_ : mismatch_) = true;
    return false;
  }
  bool At(std::string_view marker) const {
    return !failed() && text_.substr(at_).starts_with(marker);
  }
  // Whether the text so far is a beginning of the marker.
  bool MayBe(std::string_view marker) const {
    return !failed() && marker.starts_with(text_.substr(at_));
  }
  // Everything up to the marker, and past it.
  std::string_view Until(std::string_view marker) {
    if (failed()) return {};
    const size_t end = text_.find(marker, at_);
    if (end == text_.npos) {
      need_more_ = true;
      wait_for_ = marker;
      return {};
    }
    const std::string_view part = text_.substr(at_, end - at_);
    at_ = end + marker.size();
    return part;
  }
  void Fail() { mismatch_ = true; }

  bool failed() const { return need_more_ || mismatch_; }
  bool need_more() const { return need_more_; }
  const std::string& wait_for() const { return wait_for_; }
  size_t at() const { return at_; }

 private:
  std::string_view text_;
  size_t at_ = 0;
  bool need_more_ = false, mismatch_ = false;
  std::string wait_for_;
};

// function<sep>NAME\n```json\nARGS\n``` between the call's tokens.
class FencedSplitter : public BlockSplitter {
 public:
  FencedSplitter() : BlockSplitter(kCallsBegin, kCallsEnd, true) {}

 private:
  Trial TryCall(std::string_view text) const override {
    Reader reader(text);
    reader.Expect(kCallBegin);
    const std::string_view body = reader.Until(kCallEnd);
    if (reader.need_more()) return {.verdict = Verdict::kNeedMore, .wait_for = reader.wait_for()};
    if (reader.failed()) return {.verdict = Verdict::kNoCall};
    Reader inside(body);
    inside.Expect("function");
    inside.Expect(kSeparator);
    const std::string_view name = inside.Until("\n```json\n");
    const std::string_view rest = body.substr(inside.at());
    constexpr std::string_view kFence = "\n```";
    if (inside.failed() || name.empty() || name.find('\n') != name.npos ||
        !rest.ends_with(kFence)) {
      return {.verdict = Verdict::kNoCall};
    }
    const std::string arguments(rest.substr(0, rest.size() - kFence.size()));
    if (!IsJsonObject(arguments)) return {.verdict = Verdict::kNoCall};
    return {.verdict = Verdict::kCall,
            .call = {.name = std::string(name), .arguments = arguments},
            .size = reader.at()};
  }
};

// NAME<sep>ARGS between the call's tokens.
class BareSplitter : public BlockSplitter {
 public:
  BareSplitter() : BlockSplitter(kCallsBegin, kCallsEnd, true) {}

 private:
  Trial TryCall(std::string_view text) const override {
    Reader reader(text);
    reader.Expect(kCallBegin);
    const std::string_view body = reader.Until(kCallEnd);
    if (reader.need_more()) return {.verdict = Verdict::kNeedMore, .wait_for = reader.wait_for()};
    if (reader.failed()) return {.verdict = Verdict::kNoCall};
    Reader inside(body);
    const std::string_view name = inside.Until(kSeparator);
    const std::string arguments(body.substr(inside.at()));
    if (inside.failed() || name.empty() || !IsJsonObject(arguments)) {
      return {.verdict = Verdict::kNoCall};
    }
    return {.verdict = Verdict::kCall,
            .call = {.name = std::string(name), .arguments = arguments},
            .size = reader.at()};
  }
};

class DsmlSplitter : public BlockSplitter {
 public:
  explicit DsmlSplitter(const DsmlNames& names)
      : BlockSplitter("\n\n<｜DSML｜" + names.space + names.block + ">\n",
                      "</｜DSML｜" + names.space + names.block + ">", false),
        invoke_("<｜DSML｜" + names.space + "invoke name=\""),
        invoke_end_("</｜DSML｜" + names.space + "invoke>"),
        parameter_("<｜DSML｜" + names.space + "parameter name=\""),
        parameter_end_("</｜DSML｜" + names.space + "parameter>") {}

 private:
  bool NeedsNewline() const override { return true; }

  Trial TryCall(std::string_view text) const override {
    Reader reader(text);
    ToolCall call;
    reader.Expect(invoke_);
    call.name = reader.Until("\">\n");
    if (!reader.failed() && (call.name.empty() || call.name.find('\n') != call.name.npos)) {
      reader.Fail();
    }
    std::vector<std::string> keys;
    call.arguments = "{";
    while (!reader.failed() && !AtEnd(&reader, keys.empty())) ReadParameter(&reader, &keys, &call);
    if (reader.need_more()) return {.verdict = Verdict::kNeedMore, .wait_for = reader.wait_for()};
    if (reader.failed()) return {.verdict = Verdict::kNoCall};
    call.arguments += "}";
    return {.verdict = Verdict::kCall, .call = std::move(call), .size = reader.at()};
  }

  // A call without parameters may have an empty line.
  bool AtEnd(Reader* reader, bool no_parameters) const {
    if (no_parameters && (reader->At("\n") || reader->MayBe("\n" + invoke_end_))) {
      reader->Expect("\n" + invoke_end_);
      return true;
    }
    if (reader->At(invoke_end_)) {
      reader->Expect(invoke_end_);
      return true;
    }
    if (reader->MayBe(invoke_end_)) {
      reader->Expect(invoke_end_);  // asks for more
      return true;
    }
    return false;
  }

  void ReadParameter(Reader* reader, std::vector<std::string>* keys, ToolCall* call) const {
    reader->Expect(parameter_);
    const std::string key(reader->Until("\" string=\""));
    if (key.find('\n') != key.npos) reader->Fail();
    const bool is_text = !reader->failed() && (reader->At("t") || reader->MayBe("true\">"));
    reader->Expect(is_text ? "true\">" : "false\">");
    const std::string value(reader->Until(parameter_end_));
    reader->Expect("\n");
    if (reader->failed()) return;
    for (const std::string& other : *keys) {
      if (other == key) reader->Fail();
    }
    if (!is_text && !IsJson(value)) reader->Fail();
    call->arguments += keys->empty() ? "" : ", ";
    call->arguments += jinja::ToJson(jinja::Value::String(key)) + ": " +
                       (is_text ? jinja::ToJson(jinja::Value::String(value)) : value);
    keys->push_back(key);
  }

  const std::string invoke_, invoke_end_, parameter_, parameter_end_;
};

}  // namespace

std::unique_ptr<ContentSplitter> NewFencedSplitter() { return std::make_unique<FencedSplitter>(); }
std::unique_ptr<ContentSplitter> NewBareSplitter() { return std::make_unique<BareSplitter>(); }
std::unique_ptr<ContentSplitter> NewDsmlSplitter(const DsmlNames& names) {
  return std::make_unique<DsmlSplitter>(names);
}

}  // namespace inhouse::engine

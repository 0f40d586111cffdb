// The goldens of tests/fixtures/prompt: every template, encoding and parser, case by case. With
// INHOUSE_PROMPT_GOLDENS=DIR another directory of the same shape, whose files need not be packed.
#include <zlib.h>

#include <cstdlib>
#include <filesystem>
#include <random>
#include <string>
#include <vector>

#include "base/file.h"
#include "base/status.h"
#include "engine/prompt/chat.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"

namespace inhouse::engine {
namespace {

using nlohmann::ordered_json;
namespace fs = std::filesystem;

fs::path Root() {
  const char* given = std::getenv("INHOUSE_PROMPT_GOLDENS");
  return given != nullptr ? given : "tests/fixtures/prompt";
}

// gzread passes files that are not packed through as they are.
std::vector<ordered_json> ReadLines(const fs::path& path) {
  std::string text;
  gzFile file = gzopen(path.c_str(), "rb");
  EXPECT_NE(file, nullptr) << path;
  if (file == nullptr) return {};
  char buffer[1 << 16];
  for (int n; (n = gzread(file, buffer, sizeof(buffer))) > 0;) {
    text.append(buffer, static_cast<size_t>(n));
  }
  gzclose(file);
  std::vector<ordered_json> out;
  for (size_t at = 0; at < text.size();) {
    const size_t end = std::min(text.find('\n', at), text.size());
    if (end > at) out.push_back(ordered_json::parse(text.substr(at, end - at)));
    at = end + 1;
  }
  return out;
}

std::vector<fs::path> Files(const std::string& folder) {
  std::vector<fs::path> out;
  for (const auto& entry : fs::directory_iterator(Root() / folder)) out.push_back(entry.path());
  std::sort(out.begin(), out.end());
  EXPECT_FALSE(out.empty());
  return out;
}

// "deepseek-v3.1" of ".../deepseek-v3.1.jsonl.gz".
std::string NameOf(const fs::path& path) {
  const std::string name = path.filename().string();
  return name.substr(0, name.find(".jsonl"));
}

void ExpectPrompt(const ordered_json& golden, const absl::StatusOr<std::string>& prompt,
                  const std::string& member, const std::string& where) {
  if (golden.contains("error")) {
    EXPECT_FALSE(prompt.ok()) << where << " should fail, but gives " << *prompt;
  } else if (!prompt.ok()) {
    ADD_FAILURE() << where << ": " << base::Message(prompt.status());
  } else {
    EXPECT_EQ(*prompt, golden[member].get<std::string>()) << where;
  }
}

TEST(Golden, JinjaCases) {
  fs::path path = Root() / "jinja.jsonl.gz";
  if (!fs::exists(path)) path = Root() / "jinja" / "cases.jsonl";
  int cases = 0;
  for (const ordered_json& golden : ReadLines(path)) {
    const auto source = golden["template"].get<std::string>();
    const auto out = RenderTemplateJson(source, "template", golden["variables"].dump());
    ExpectPrompt(golden, out, "output", golden["name"].get<std::string>() + " " + source);
    ++cases;
  }
  EXPECT_GE(cases, 100);
}

TEST(Golden, Templates) {
  for (const fs::path& path : Files("render")) {
    const fs::path file = Root() / "templates" / (NameOf(path) + ".jinja");
    const auto source = base::ReadFile(file);
    ASSERT_TRUE(source.ok());
    const auto format = CreateJinjaFormat(*source, file);
    ASSERT_TRUE(format.ok()) << base::Message(format.status());
    for (const ordered_json& golden : ReadLines(path)) {
      ExpectPrompt(golden, (*format)->RenderJson(golden["input"].dump()), "prompt",
                   NameOf(path) + "/" + golden["name"].get<std::string>());
    }
  }
}

TEST(Golden, NativeEncodings) {
  for (const fs::path& path : Files("encode")) {
    const auto format = CreateNativeFormat(NameOf(path));
    ASSERT_TRUE(format.ok()) << base::Message(format.status());
    for (const ordered_json& golden : ReadLines(path)) {
      ExpectPrompt(golden, (*format)->RenderJson(golden["input"].dump()), "prompt",
                   NameOf(path) + "/" + golden["name"].get<std::string>());
    }
  }
}

// Qwen3 has no encoding of its own in the goldens: it has to write what the template writes.
TEST(Golden, NativeQwen3EqualsTheTemplate) {
  const auto format = CreateNativeFormat("qwen3");
  ASSERT_TRUE(format.ok());
  for (const fs::path& path : Files("render")) {
    if (NameOf(path) != "qwen3") continue;
    for (const ordered_json& golden : ReadLines(path)) {
      if (golden.contains("error")) continue;  // it is milder with null contents
      ExpectPrompt(golden, (*format)->RenderJson(golden["input"].dump()), "prompt",
                   "qwen3/" + golden["name"].get<std::string>());
    }
  }
}

ordered_json ToJson(const ParsedCompletion& parsed, bool parse_arguments) {
  ordered_json out;
  out["reasoning"] = nullptr;
  if (parsed.reasoning) out["reasoning"] = *parsed.reasoning;
  out["content"] = parsed.content;
  out["tool_calls"] = ordered_json::array();
  for (const ToolCall& call : parsed.tool_calls) {
    ordered_json arguments = call.arguments;
    if (parse_arguments) arguments = ordered_json::parse(call.arguments);
    out["tool_calls"].push_back({{"name", call.name}, {"arguments", arguments}});
  }
  out["complete"] = parsed.complete;
  return out;
}

TEST(Golden, Parsers) {
  for (const fs::path& path : Files("parse")) {
    const bool by_value = NameOf(path) == "qwen3";
    const auto format = CreateNativeFormat(NameOf(path));
    ASSERT_TRUE(format.ok()) << base::Message(format.status());
    for (ordered_json golden : ReadLines(path)) {
      if (by_value) {
        for (auto& call : golden["output"]["tool_calls"]) {
          call["arguments"] = ordered_json::parse(call["arguments"].get<std::string>());
        }
      }
      const ParsedCompletion parsed =
          (*format)->Parse(golden["input"]["text"].get<std::string>(),
                           golden["input"]["prompt_ends_in_think"].get<bool>());
      EXPECT_EQ(ToJson(parsed, by_value).dump(1), golden["output"].dump(1))
          << NameOf(path) << "/" << golden["name"] << " " << golden["input"];
    }
  }
}

// Feeds the text in the given pieces and joins what comes out.
ParsedCompletion Stream(const ChatFormat& format, const std::vector<std::string>& pieces,
                        bool think) {
  ParsedCompletion out;
  std::string reasoning;
  const auto stream = format.NewStream(think);
  const auto take = [&](CompletionDelta delta) {
    reasoning += delta.reasoning;
    out.content += delta.content;
    for (ToolCall& call : delta.tool_calls) out.tool_calls.push_back(std::move(call));
  };
  for (const std::string& piece : pieces) take(stream->Push(piece));
  take(stream->Finish());
  if (!reasoning.empty()) out.reasoning = reasoning;
  return out;
}

// Whatever the pieces are, the stream says what the whole text says.
TEST(Golden, StreamsEqualTheWhole) {
  std::mt19937 random(20240601);
  for (const fs::path& path : Files("parse")) {
    const auto format = CreateNativeFormat(NameOf(path));
    ASSERT_TRUE(format.ok());
    for (const ordered_json& golden : ReadLines(path)) {
      const auto text = golden["input"]["text"].get<std::string>();
      const bool think = golden["input"]["prompt_ends_in_think"].get<bool>();
      ParsedCompletion whole = (*format)->Parse(text, think);
      whole.complete = false;  // a stream does not say it
      const std::string expected = ToJson(whole, false).dump();
      const auto check = [&](const std::vector<std::string>& pieces) {
        EXPECT_EQ(ToJson(Stream(**format, pieces, think), false).dump(), expected)
            << NameOf(path) << "/" << golden["name"];
      };
      const size_t step = std::max<size_t>(1, text.size() / 60);
      for (size_t cut = 0; cut <= text.size(); cut += step) {
        check({text.substr(0, cut), text.substr(cut)});
      }
      std::vector<std::string> single;
      for (const char c : text) single.emplace_back(1, c);
      check(single);
      std::vector<std::string> pieces;
      for (size_t at = 0; at < text.size();) {
        const size_t n = 1 + random() % 12;
        pieces.push_back(text.substr(at, n));
        at += n;
      }
      check(pieces);
    }
  }
}

}  // namespace
}  // namespace inhouse::engine

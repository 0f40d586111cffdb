// The door of the room with typed messages: what templates get, what is continued, what is refused.
#include "engine/prompt/chat.h"

#include <random>
#include <string>
#include <vector>

#include "base/file.h"
#include "base/status.h"
#include "engine/sampling/grammar/grammar.h"
#include "engine/sampling/grammar/test_vocabulary.h"
#include "gtest/gtest.h"

namespace inhouse::engine {
namespace {

std::unique_ptr<ChatFormat> OfFile(const std::string& name) {
  const std::string path = "tests/fixtures/prompt/templates/" + name + ".jinja";
  const auto source = base::ReadFile(path);
  EXPECT_TRUE(source.ok()) << base::Message(source.status());
  auto format = CreateJinjaFormat(*source, path);
  EXPECT_TRUE(format.ok()) << base::Message(format.status());
  return *std::move(format);
}

std::unique_ptr<ChatFormat> Native(std::string_view name) {
  auto format = CreateNativeFormat(name);
  EXPECT_TRUE(format.ok());
  return *std::move(format);
}

ChatMessage User(const std::string& text) { return {.role = "user", .content = text}; }

const std::vector<ChatMessage> kCall = {
    User("Weather?"),
    {.role = "assistant",
     .content = "",
     .tool_calls = {{.id = "call_1", .name = "get", .arguments = "{\"city\": \"Paris\"}"}}},
    {.role = "tool", .content = "sunny", .tool_call_id = "call_1"}};

std::string Rendered(const ChatFormat& format, const std::vector<ChatMessage>& messages,
                     const ChatOptions& options = {}) {
  const auto prompt = format.Render(messages, options);
  EXPECT_TRUE(prompt.ok()) << format.name() << ": " << base::Message(prompt.status());
  return prompt.ok() ? *prompt : "";
}

TEST(Chat, CallsReachEveryTemplateInTheFormThatItWants) {
  // Arguments as text (DeepSeek), as an object (Qwen2.5), member by member (Qwen3-Coder); content
  // none (V3) or a string (Qwen3).
  for (const char* name : {"deepseek-v3", "deepseek-r1", "deepseek-v3.1", "deepseek-v3.1-terminus",
                           "qwen2.5", "qwen3", "qwen3-coder", "qwq-32b", "community-deepseek-v3.1",
                           "community-deepseek-v3.2", "community-deepseek-v4"}) {
    const std::string prompt = Rendered(*OfFile(name), kCall);
    EXPECT_NE(prompt.find("get"), prompt.npos) << name << ": " << prompt;
    EXPECT_NE(prompt.find("Paris"), prompt.npos) << name << ": " << prompt;
    EXPECT_EQ(prompt.find("\\\"city"), prompt.npos) << name << " quotes twice: " << prompt;
    EXPECT_EQ(prompt.find("None"), prompt.npos) << name << ": " << prompt;
  }
}

TEST(Chat, ArgumentsStayAsTheModelWroteThem) {
  std::vector<ChatMessage> messages = kCall;
  messages[1].tool_calls[0].arguments = "{\"city\":\"Paris\",\"n\":1.50}";
  for (const char* name : {"qwen3", "deepseek-v3.1"}) {
    const std::string prompt = Rendered(*OfFile(name), messages);
    EXPECT_NE(prompt.find("{\"city\":\"Paris\",\"n\":1.50}"), prompt.npos) << name << prompt;
  }
}

TEST(Chat, APrefixIsContinued) {
  ChatMessage prefix = {.role = "assistant", .content = "The capital is ", .prefix = true};
  for (const char* name : {"qwen3", "deepseek-v3.1", "smollm2", "deepseek-r1", "deepseek-v2"}) {
    const std::string prompt = Rendered(*OfFile(name), {User("France?"), prefix});
    EXPECT_TRUE(prompt.ends_with("The capital is ")) << name << ": " << prompt;
  }
  EXPECT_TRUE(Rendered(*Native("deepseek-v3"), {User("France?"), prefix}).ends_with("capital is "));
}

TEST(Chat, TheDeveloperSpeaksAsTheSystem) {
  const std::vector<ChatMessage> messages = {{.role = "developer", .content = "Be brief."},
                                             User("Hi")};
  EXPECT_NE(Rendered(*OfFile("deepseek-v3"), messages).find("Be brief."), std::string::npos);
  EXPECT_NE(Rendered(*Native("deepseek-v3"), messages).find("Be brief."), std::string::npos);
}

TEST(Chat, VariablesAndTokensReachTheTemplate) {
  ChatOptions options;
  options.bos_token = "<bos>";
  options.variables["thinking"] = true;
  const std::string prompt = Rendered(*OfFile("deepseek-v3.1"), {User("Hi")}, options);
  EXPECT_EQ(prompt, "<bos><｜User｜>Hi<｜Assistant｜><think>");
  EXPECT_TRUE(PromptEndsInThink(prompt));
  EXPECT_TRUE(PromptEndsInThink("<think>\n"));
  EXPECT_FALSE(PromptEndsInThink("<think></think>"));
}

TEST(Chat, TheParserFitsTheTemplate) {
  const std::vector<std::pair<std::string, std::string>> expected = {
      {"qwen3", "jinja+qwen3"},
      {"qwen3-coder", "jinja+plain"},
      {"smollm2", "jinja+plain"},
      {"deepseek-v3", "jinja+deepseek-r1"},
      {"deepseek-r1", "jinja+deepseek-r1"},
      {"deepseek-v3.1", "jinja+deepseek-v3.1"},
      {"community-deepseek-v3.2", "jinja+deepseek-v3.2"},
      {"community-deepseek-v4", "jinja+deepseek-v4"}};
  for (const auto& [name, style] : expected) EXPECT_EQ(OfFile(name)->name(), style) << name;
}

TEST(Chat, ErrorsSayWhatAndWhere) {
  const auto syntax = CreateJinjaFormat("a\n{% if x %}", "dir/chat_template.jinja");
  ASSERT_FALSE(syntax.ok());
  EXPECT_TRUE(absl::IsInvalidArgument(syntax.status()));
  EXPECT_NE(base::Message(syntax.status()).find("dir/chat_template.jinja:2: unexpected end"),
            std::string::npos)
      << base::Message(syntax.status());
  const auto raises = CreateJinjaFormat("x\n{{ raise_exception('roles must alternate') }}", "t");
  ASSERT_TRUE(raises.ok());
  const auto refused = (*raises)->Render({User("Hi")}, {});
  EXPECT_EQ(base::Message(refused.status()), "t:2: roles must alternate");
  const auto unknown = CreateNativeFormat("gpt-5");
  EXPECT_TRUE(absl::IsNotFound(unknown.status()));
  EXPECT_NE(base::Message(unknown.status()).find("deepseek-v3.1"), std::string::npos);
}

const nlohmann::ordered_json kTools = nlohmann::ordered_json::parse(R"([
  {"type":"function","function":{"name":"get_weather","parameters":{"type":"object",
    "properties":{"city":{"type":"string","maxLength":8},"days":{"type":"integer","minimum":1,
    "maximum":9}},"required":["city"],"additionalProperties":false}}},
  {"type":"function","function":{"name":"stop"}}])");

// A random text of a grammar, token by token.
std::vector<std::string> RandomText(const GrammarSpec& spec, uint32_t seed) {
  const auto trie = TestTrie();
  const auto grammar = Grammar::Compile(spec, trie);
  EXPECT_TRUE(grammar.ok()) << grammar.status();
  GrammarMatcher matcher(*grammar);
  std::mt19937 random(seed);
  std::vector<std::string> pieces;
  TokenMask mask;
  while (!matcher.must_end() && pieces.size() < 3000) {
    EXPECT_TRUE(matcher.FillMask(&mask).ok());
    std::vector<int32_t> allowed;
    for (int32_t token = 0; token < trie->vocab_size(); ++token) {
      const bool may = (mask[static_cast<size_t>(token) / 64] >> (token % 64) & 1) != 0;
      // Away from the ends of strings and objects only now and then: texts shall be short.
      const std::string_view bytes = trie->bytes(token);
      if (may && (bytes == "\"" || bytes == "}" || random() % 4 == 0)) allowed.push_back(token);
    }
    if (allowed.empty()) continue;
    const int32_t token = allowed[random() % allowed.size()];
    EXPECT_TRUE(matcher.Accept(token));
    pieces.emplace_back(trie->bytes(token));
  }
  EXPECT_TRUE(matcher.must_end());
  return pieces;
}

// What the grammar allows is what the parser of the format reads: whole, and while it is written.
TEST(ForcedCalls, GrammarAndParserAgree) {
  const auto smol = OfFile("smollm2");
  for (const auto& format : {Native("deepseek-v3"), Native("deepseek-v3.1"), Native("qwen3"),
                             Native("deepseek-llm"), OfFile("smollm2")}) {
    const ChatFormat& speaker = format->WithTools();
    for (uint32_t seed = 0; seed < 20; ++seed) {
      const int64_t calls_max = seed % 2 == 0 ? 1 : 3;
      const auto spec = speaker.CallGrammar(kTools, calls_max);
      ASSERT_TRUE(spec.ok()) << spec.status();
      std::string text;
      const auto stream = speaker.NewForcedStream(false);
      std::vector<ToolCall> streamed;
      for (const std::string& piece : RandomText(*spec, seed)) {
        text += piece;
        const CompletionDelta delta = stream->Push(piece);
        EXPECT_EQ(delta.content, "");
        for (const ToolCallPiece& call : delta.call_pieces) {
          if (call.begins) streamed.push_back({.name = call.name});
          streamed.back().arguments += call.arguments;
        }
      }
      const ParsedCompletion parsed = speaker.Parse(text, false);
      EXPECT_EQ(parsed.content, "") << text;
      ASSERT_GE(parsed.tool_calls.size(), 1U) << text;
      ASSERT_LE(parsed.tool_calls.size(), static_cast<size_t>(calls_max));
      ASSERT_EQ(streamed.size(), parsed.tool_calls.size()) << text;
      for (size_t i = 0; i < streamed.size(); ++i) {
        EXPECT_EQ(streamed[i].name, parsed.tool_calls[i].name);
        const auto arguments = nlohmann::json::parse(streamed[i].arguments, nullptr, false);
        EXPECT_EQ(arguments, nlohmann::json::parse(parsed.tool_calls[i].arguments));
        EXPECT_TRUE(streamed[i].name == "stop" || arguments.contains("city")) << text;
      }
    }
  }
  EXPECT_TRUE(absl::IsUnimplemented(smol->CallGrammar(kTools, 1).status()));
}

TEST(ForcedCalls, TemplatesWithoutToolsAreTold) {
  const auto format = OfFile("smollm2");
  EXPECT_EQ(Native("qwen3")->WithTools().name(), "qwen3");
  const std::string prompt = Rendered(format->WithTools(), kCall, {.tools = kTools});
  for (const char* part :
       {"<tools>", "\"get_weather\"", "Weather?", "<tool_call>\n{\"name\": \"get\"",
        "{\"city\": \"Paris\"}", "<tool_response>\nsunny\n</tool_response>"}) {
    EXPECT_NE(prompt.find(part), std::string::npos) << part << "\n" << prompt;
  }
  EXPECT_EQ(prompt.find("<|im_start|>tool"), std::string::npos);
}

}  // namespace
}  // namespace inhouse::engine

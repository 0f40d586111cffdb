// The door of the room with typed messages: what templates get, what is continued, what is refused.
#include "engine/prompt/chat.h"

#include <string>
#include <vector>

#include "base/file.h"
#include "base/status.h"
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

}  // namespace
}  // namespace inhouse::engine

#include "base/config_file.h"

#include <gtest/gtest.h>

#include "base/status.h"

namespace inhouse::base {
namespace {

std::unique_ptr<ConfigFile> Parse(std::string_view text) {
  auto file = ConfigFile::Parse("c.toml", text);
  EXPECT_TRUE(file.ok()) << file.status();
  return file.ok() ? *std::move(file) : nullptr;
}

std::vector<std::string> Texts(const ConfigFile& file) {
  std::vector<std::string> out;
  for (const absl::Status& status : file.Problems()) out.push_back(Message(status));
  return out;
}

TEST(ConfigFile, ReadsEveryKind) {
  const auto file = Parse(
      "name = 'x'\n[server]\nport = 80\nseconds = 2\nopen = true\nlist = ['a', 'b']\n"
      "[[key]]\nid = 'one'\n[[key]]\nid = 'two'\n");
  std::string name;
  int port = 1;
  double seconds = 0;
  bool open = false;
  std::vector<std::string> list;
  EXPECT_TRUE(file->root().Read("name", &name));
  const ConfigTable server = file->root().Table("server");
  EXPECT_TRUE(server.ReadInt("port", &port, {0, 65535}));
  EXPECT_TRUE(server.Read("seconds", &seconds, {0, 10}));
  EXPECT_TRUE(server.Read("open", &open));
  EXPECT_TRUE(server.Read("list", &list));
  EXPECT_FALSE(server.Read("absent", &name));
  EXPECT_EQ(name, "x");
  EXPECT_EQ(port, 80);
  EXPECT_EQ(seconds, 2);
  EXPECT_TRUE(open);
  EXPECT_EQ(list, (std::vector<std::string>{"a", "b"}));
  std::vector<std::string> ids;
  for (const ConfigTable& key : file->root().Tables("key")) {
    std::string id;
    EXPECT_TRUE(key.Read("id", &id));
    ids.push_back(id);
  }
  EXPECT_EQ(ids, (std::vector<std::string>{"one", "two"}));
  EXPECT_TRUE(file->status().ok()) << file->status();
}

TEST(ConfigFile, NamesLineFieldValueAndExpectation) {
  const auto file = Parse("[server]\nport = 70000\nhost = 3\nlist = [1]\n");
  int port = 1;
  std::string host = "kept";
  std::vector<std::string> list;
  const ConfigTable server = file->root().Table("server");
  server.ReadInt("port", &port, {0, 65535});
  server.Read("host", &host);
  server.Read("list", &list);
  EXPECT_EQ(port, 1);
  EXPECT_EQ(host, "kept");
  const auto texts = Texts(*file);
  ASSERT_EQ(texts.size(), 3u);
  EXPECT_EQ(texts[0], "c.toml:2: server.port: value '70000': expected an integer from 0 to 65535");
  EXPECT_NE(texts[1].find("c.toml:3: server.host: value '3'"), std::string::npos) << texts[1];
  EXPECT_NE(texts[2].find("c.toml:4: server.list"), std::string::npos) << texts[2];
  EXPECT_NE(Message(file->status()).find("2 more problems"), std::string::npos);
}

TEST(ConfigFile, UnknownFieldsAreErrorsWithAGuess) {
  const auto file = Parse("[server]\nprot = 1\nzzzzzz = 1\n[severs]\n");
  int port = 0;
  file->root().Table("server").ReadInt("port", &port, {0, 65535});
  const auto texts = Texts(*file);
  ASSERT_EQ(texts.size(), 3u);
  EXPECT_NE(texts[0].find("c.toml:2: server.prot"), std::string::npos) << texts[0];
  EXPECT_NE(texts[0].find("did you mean 'port'?"), std::string::npos) << texts[0];
  EXPECT_EQ(texts[1].find("did you mean"), std::string::npos) << texts[1];
  EXPECT_NE(texts[2].find("did you mean 'server'?"), std::string::npos) << texts[2];
  EXPECT_EQ(Texts(*file).size(), 3u) << "asking again finds the same";
}

TEST(ConfigFile, SyntaxErrorsNameTheLine) {
  const auto file = ConfigFile::Parse("c.toml", "a = 1\nb = \n");
  EXPECT_NE(Message(file.status()).find("c.toml:2: "), std::string::npos) << file.status();
  EXPECT_FALSE(ConfigFile::Parse("c.toml", "a = 1\na = 2\n").ok());
  EXPECT_FALSE(ConfigFile::Load("/nowhere/c.toml").ok());
}

TEST(ConfigFile, WrongKindsOfTables) {
  const auto file = Parse("server = 1\nkey = 2\n");
  int port = 7;
  file->root().Table("server").ReadInt("port", &port, {0, 9});
  EXPECT_TRUE(file->root().Tables("key").empty());
  EXPECT_EQ(port, 7);
  EXPECT_EQ(Texts(*file).size(), 2u);
}

TEST(ConfigFile, StringsSurviveARoundTrip) {
  const std::string odd = "a\"b\\c\nd\te\x7f 中文";
  const auto file = Parse("x = " + TomlString(odd) + "\ny = " + TomlStrings({odd, ""}));
  std::string x;
  std::vector<std::string> y;
  file->root().Read("x", &x);
  file->root().Read("y", &y);
  EXPECT_EQ(x, odd);
  EXPECT_EQ(y, (std::vector<std::string>{odd, ""}));
}

}  // namespace
}  // namespace inhouse::base

#!/usr/bin/env python3
"""Each check finds its violation in a tiny tree, and nothing in the same tree without it."""

import os
import shutil
import tempfile
import unittest

import code_checks
import source_tree
import tidy

HEADER = "// What it is for.\n#pragma once\n\nint Low();\n"
GOOD = {
    "docs/layers.txt": "low 0\nleft 1\nright 1\napps 9\n",
    "README.md": "# Title\n\n## One\n\nSee [the room](low/README.md#what-goes-in).\n",
    "README.zh-CN.md": "# 标题\n\n## 一\n",
    "low/README.md": "# low\n\n## What goes in\n",
    "low/low.h": HEADER,
    "low/low.cc": '#include "low/low.h"\n\nint Low() { return 1; }\n',
    "low/CMakeLists.txt": "inhouse_room(NAME low HEADERS low.h SOURCES low.cc)\n",
    "left/README.md": "# left\n",
    "left/left.h": "// Left.\n#pragma once\n\nint Left();\n",
    "left/left.cc": '#include "left/left.h"\n\n#include "low/low.h"\n\nint Left() { return Low(); }\n',
    "left/CMakeLists.txt": "inhouse_room(NAME left HEADERS left.h SOURCES left.cc DEPS inhouse::low)\n",
    "right/README.md": "# right\n",
    "right/right.h": "// Right.\n#pragma once\n\nint Right();\n",
    "right/CMakeLists.txt": "inhouse_room(NAME right HEADERS right.h)\n",
}
LONG_NAME = "a" * 101


class TidyTest(unittest.TestCase):
    def setUp(self):
        self.root = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, self.root)
        for path, text in GOOD.items():
            self.write(path, text)

    def write(self, path, text):
        full = os.path.join(self.root, path)
        os.makedirs(os.path.dirname(full), exist_ok=True)
        with open(full, "w", encoding="utf-8") as f:
            f.write(text)

    def found(self, check):
        results, _ = tidy.run(self.root, [check])
        return [str(finding) for finding in results[check]]

    def expect(self, check, path, text, *parts):
        """Writing `text` to `path` makes `check`, silent before, say all of `parts` once."""
        self.assertEqual(self.found(check), [])
        self.write(path, text)
        found = self.found(check)
        self.assertEqual(len(found), 1, found)
        for part in (path,) + parts:
            self.assertIn(part, found[0])

    def test_the_good_tree_is_clean(self):
        results, warnings = tidy.run(self.root)
        self.assertEqual([f for found in results.values() for f in found], [])
        self.assertEqual(warnings, [])

    def test_include_up(self):
        self.expect("layers", "low/low.cc", '#include "low/low.h"\n#include "left/left.h"\n',
                    ":2:", "points up")

    def test_include_sideways(self):
        self.expect("layers", "right/right.h", '// R.\n#pragma once\n#include "left/left.h"\n',
                    ":3:", "points sideways")

    def test_include_relative(self):
        self.expect("layers", "low/low.cc", '#include "low.h"\n', "from the root")

    def test_include_in_a_comment_or_string_is_none(self):
        self.write("low/low.cc", '/*\n#include "left/left.h"\n*/\nauto s = R"(\n#include "left/left.h"\n)";\n')
        self.assertEqual(self.found("layers"), [])

    def test_file_in_no_room(self):
        self.expect("layers", "attic/a.cc", "int A();\n", "no room")

    def test_target_sideways(self):
        self.expect("targets", "right/CMakeLists.txt",
                    "inhouse_room(NAME right HEADERS right.h DEPS inhouse::left)\n", "inhouse::left")

    def test_target_through_a_variable(self):
        self.expect("targets", "low/CMakeLists.txt",
                    "set(deps inhouse::left)\ninhouse_room(NAME low HEADERS low.h SOURCES low.cc "
                    "PRIVATE_DEPS ${deps})\n", ":2:", "inhouse::left")

    def test_orphan_source(self):
        self.expect("orphans", "low/lost.cc", "int Lost();\n", "no CMakeLists.txt")

    def test_sources_through_foreach_are_no_orphans(self):
        self.write("low/CMakeLists.txt", "foreach(level a b)\n  add(x/${level}.cc)\nendforeach()\n"
                   "inhouse_room(NAME low HEADERS low.h SOURCES low.cc)\n")
        self.write("low/x/a.cc", "int A();\n")
        self.write("low/x/b.cc", "int B();\n")
        self.assertEqual(self.found("orphans"), [])

    def test_orphan_header(self):
        self.expect("orphans", "low/lost.h", HEADER, "included by nobody")

    def test_private_header_used_by_another_room(self):
        self.write("low/private.h", HEADER)
        self.write("low/low.cc", '#include "low/low.h"\n#include "low/private.h"\n')
        self.assertEqual(self.found("orphans"), [])
        self.write("left/left.cc", '#include "left/left.h"\n#include "low/private.h"\n')
        self.assertIn("no file set", self.found("orphans")[0])

    def test_room_without_page(self):
        os.remove(os.path.join(self.root, "right/README.md"))
        self.assertIn("right", self.found("readmes")[0])

    def test_long_line(self):
        self.expect("line-length", "low/low.cc", f"int {LONG_NAME};\n", "106 columns")

    def test_long_address_and_raw_string_are_free(self):
        self.write("low/low.cc", f"// https://{LONG_NAME}\nauto s = R\"(\n{LONG_NAME}\n)\";\n")
        self.assertEqual(self.found("line-length"), [])

    def test_columns_are_characters(self):
        self.write("low/low.cc", "// " + "字" * 90 + "\n")
        self.assertEqual(self.found("line-length"), [])

    def test_file_budget_counts_code_only(self):
        self.write("low/low.cc", "// comment\n\n" * 400 + "int a;\n" * 500)
        self.assertEqual(self.found("file-budget"), [])
        self.write("low/low.cc", "int a;\n" * 501)
        self.assertIn("501 lines", self.found("file-budget")[0])

    def test_a_generated_table_names_its_script(self):
        self.expect("file-budget", "low/low.cc",
                    "// Generated by scripts/gone.py\n" + "int a;\n" * 600, "600 lines")
        self.write("scripts/gone.py", "print()\n")
        self.assertEqual(self.found("file-budget"), [])

    def test_function_budget(self):
        body = "  Low();\n" * 79
        self.write("low/low.cc", "int Low() {\n" + "  Low();\n" * 78 + "}\n")
        self.assertEqual(self.found("function-budget"), [])
        self.write("low/low.cc", "int Low() {\n" + body + "}\n")
        self.assertIn("81 lines", self.found("function-budget")[0])

    def test_functions_are_found(self):
        code = """namespace a {
constexpr int table[] = {
  f(1),
};
class B : public C {
 public:
  B(int x, D d = {}) : x_{x}, y_(d) {
    if (x) { g(); }
  }
  bool operator==(const B& b) const {
    return true;
  }
  enum class E { k = (1) };
  template <typename T = int>
  void M(T t) {
    auto l = [&](int i) {
      return i;
    };
  }
};
#if A
void P(int a) {
#else
void P(long a) {
#endif
  for (int i = 0; i < 1; ++i) { }
}
constexpr Verb verbs[] = {
    {"x", F(y)},
};
const auto lambda = [](int a) {
  return a;
};
TEST(A, B) {
  EXPECT_EQ(1'000, f('{'));
}
}  // namespace a
"""
        lexed = source_tree.lex("x.cc", code)
        spans = [span for span in code_checks.functions(lexed.code) if span[1] > span[0]]
        self.assertEqual(spans, [(7, 9), (10, 12), (14, 19), (22, 27), (34, 36)])

    def test_banned_calls(self):
        cases = [("exit(1);", True), ("std::abort();", True), ("::_exit(2);", True), ("std::terminate();", True),
                 ("x.abort();", False), ("p->exit(1);", False), ("// exit(1)", False), ('S("exit(1)");', False),
                 ("my::exit(1);", False), ("rand();", True), ("std::srand(1);", True), ("grand();", False),
                 ('std::printf("");', True), ("std::cout << 1;", True), ("std::fprintf(stderr, s);", True),
                 ("std::fprintf(file, s);", False), ("snprintf(b, 1, s);", False), ("using namespace std;", True),
                 ("using namespace std::string_literals;", False), ("std::random_device d;", False)]
        for text, banned in cases:
            self.write("low/low.cc", text + "\n")
            self.assertEqual(bool(self.found("banned")), banned, text)

    def test_apps_may_end_the_process_and_print(self):
        self.write("apps/main.cc", 'std::printf("");\nexit(1);\n')
        self.assertEqual(self.found("banned"), [])

    def test_tests_neither_sleep_nor_roll_dice(self):
        for text in ("std::this_thread::sleep_for(x);", "usleep(1);", "absl::SleepFor(x);", "std::random_device d;"):
            self.write("low/low_test.cc", text + "\n")
            self.assertEqual(len(self.found("banned")), 1, text)

    def test_including_a_source(self):
        self.expect("banned", "low/low.cc", '#include "low/other.cc"\n', "include a header")

    def test_header_without_pragma_or_comment(self):
        self.expect("headers", "low/low.h", "// A comment.\nint Low();\n", "#pragma once")
        self.write("low/low.h", "#pragma once\nint Low();\n")
        self.assertIn("leading comment", self.found("headers")[0])

    @unittest.skipUnless(shutil.which("clang-format-16"), "clang-format-16 is not installed")
    def test_format(self):
        self.write(".clang-format", "BasedOnStyle: Google\n")
        self.expect("format", "low/low.cc", "int   Low( ) {return 1;}\n", ":1:")

    def test_unfinished_words(self):
        self.expect("words", "low/low.cc", "// TO" "DO: more\n", "unfinished")

    def test_machine_paths(self):
        for path in ("/ho" "me/me/x", "/wo" "rk/x", "/ro" "ot/x", "/t" "mp/x"):
            self.write("scripts/a.sh", f"cat {path}\n")
            self.assertEqual(len(self.found("words")), 1, path)
        for free in ("mktemp /t" "mp/inhouse.XXXXXX", "$HOME/work/x", "a/work/x", "https://a.b/home/x"):
            self.write("scripts/a.sh", free + "\n")
            self.assertEqual(self.found("words"), [], free)

    def test_dead_link(self):
        self.expect("links", "low/README.md", "# low\n\n## What goes in\n\n[x](gone.md)\n", "gone.md")

    def test_dead_anchor(self):
        self.expect("links", "README.md", "# T\n\n## One\n\n[x](low/README.md#what-comes-out)\n",
                    "no heading #what-comes-out")

    def test_links_in_code_are_text(self):
        self.write("low/README.md", "# low\n\n## What goes in\n\n```\n[x](gone.md)\n```\n`[x](gone.md)`\n")
        self.assertEqual(self.found("links"), [])

    def test_chinese_anchor(self):
        self.write("README.md", "# T\n\n## One\n\n[x](README.zh-CN.md#一)\n")
        self.assertEqual(self.found("links"), [])

    def test_languages_side_by_side(self):
        self.expect("languages", "README.zh-CN.md", "# 标题\n", "side by side")

    def test_translation_without_original(self):
        self.expect("languages", "docs/guide/zh/serve.md", "# 服务\n", "docs/guide/serve.md")

    def test_page_without_translation(self):
        for path in ("docs/guide/a.md", "docs/guide/zh/a.md"):
            self.write(path, "# A\n")
        self.expect("languages", "docs/guide/b.md", "# B\n", "docs/guide/zh/b.md")


if __name__ == "__main__":
    unittest.main()

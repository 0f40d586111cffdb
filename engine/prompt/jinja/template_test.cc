// What templates must not do to the process, and corners that the goldens do not have.
#include "engine/prompt/jinja/template.h"

#include <string>
#include <utility>
#include <vector>

#include "base/status.h"
#include "gtest/gtest.h"

namespace inhouse::engine::jinja {
namespace {

absl::StatusOr<std::string> Render(const std::string& source, const Limits& limits = {}) {
  auto compiled = Template::Compile(source, "t");
  if (!compiled.ok()) return compiled.status();
  DictObject variables;
  variables.Set(Value::String("n"), Value::Int(7));
  return (*compiled)->Render(variables, limits);
}

std::string Nested(const std::string& open, const std::string& inner, const std::string& close,
                   int levels) {
  std::string out;
  for (int i = 0; i < levels; ++i) out += open;
  out += inner;
  for (int i = 0; i < levels; ++i) out += close;
  return out;
}

TEST(Limits, WhatDoesNotEndIsStopped) {
  const std::vector<std::string> endless = {
      "{% for a in range(100000) %}{% for b in range(100000) %}{% endfor %}{% endfor %}",
      "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
      "{% macro f(n) %}{{ f(n + 1) }}{{ f(n + 1) }}{% endmacro %}{{ f(0) }}",
      "{% for x in [[1]] recursive %}{{ loop([[1]]) }}{% endfor %}",
      "{% set ns = namespace(s='x') %}{% for i in range(99) %}{% set ns.s = ns.s + ns.s %}{% "
      "endfor %}",
      "{% set ns = namespace(l=[1]) %}{% for i in range(99) %}{% set ns.l = ns.l + ns.l %}{% "
      "endfor %}",
      "{% set ns = namespace(l=[]) %}{% for i in range(9999) %}{% set ns.l = [ns.l] %}{% endfor %}",
      "{% set ns = namespace() %}{% set ns.c = 1 %}{% for i in range(9999) %}{% set ns.c = "
      "cycler(ns.c) %}{% endfor %}",
      "{% set ns = namespace(c=[]) %}{% for i in range(9999) %}{% set ns.c = [ns.c.count] %}{% "
      "endfor %}",
      "{{ 'x' * 1000000000000 }}",
      "{{ [1] * 1000000000000 }}",
      "{{ 'x' | center(1000000000000) }}",
      "{{ '%1000000000d' % 1 }}",
      "{{ '{:1000000000}'.format(1) }}",
      "{{ 10 ** (10 ** 10) }}",
      "{{ 9 ** 99999999 }}",
      "{{ range(100001) }}",
      "{{ [1] | batch(1000000000, 'x') | list }}",
      "{{ [1] | slice(1000000000) | list }}",
      "{{ 'a\nb' | indent(1000000000) }}",
      "{{ ('x' * 1000000).replace('x', 'y' * 1000000) }}",
      "{{ ('x' * 100000) | join('y' * 100000) }}",
      "{% for i in range(100000) %}{{ 'x' * 100000 }}{% endfor %}",
      Nested("(", "1", ")", 100000),
      "{{ " + Nested("[", "1", "]", 100000) + " }}",
      "{{ " + Nested("not ", "1", "", 100000) + " }}",
      "{{ " + Nested("- ", "1", "", 100000) + " }}",
      "{{ 1" + Nested(" + 1", "", "", 100000) + " }}",
      "{{ x" + Nested(".x", "", "", 100000) + " }}",
      Nested("{% if 1 %}", "", "{% endif %}", 100000),
      "{% if 1 %}" + Nested("{% elif 1 %}", "", "", 300000) + "{% endif %}",
  };
  for (const std::string& source : endless) {
    const auto out = Render(source);
    if (source[0] == '(') continue;  // plain text
    const std::string shown = source.substr(0, 120);
    if (source.find("elif") != source.npos) {
      EXPECT_TRUE(out.ok() || absl::IsResourceExhausted(out.status())) << shown;
      continue;
    }
    EXPECT_TRUE(absl::IsResourceExhausted(out.status())) << shown << " -> " << out.status();
  }
}

TEST(Limits, AMacroMayGoAsDeepAsInPython) {
  const auto out = Render(
      "{% macro f(n) %}{% if n > 0 %}{{ f(n - 1) }}{% else %}end{% endif %}{% endmacro %}{{ f(200) "
      "}}");
  EXPECT_TRUE(out.ok()) << out.status();
}

TEST(Limits, CyclesAreFreed) {
  // Found by LeakSanitizer if they are not.
  const auto out = Render(
      "{% set ns = namespace() %}{% set ns.me = ns %}{% set ns.list = [ns] %}"
      "{% macro f() %}{{ f.name }}{% endmacro %}{% set ns.f = f %}"
      "{% for i in [1] %}{% set ns.loop = loop %}{% endfor %}{{ f() }}");
  ASSERT_TRUE(out.ok()) << out.status();
  EXPECT_EQ(*out, "f");
}

TEST(Template, Corners) {
  const std::vector<std::pair<std::string, std::string>> cases = {
      // A condition of a loop sees what the body has set before.
      {"{% set ns = namespace(go=true) %}{% for i in [1, 2, 3] if ns.go %}{{ i }}{% set ns.go = i "
       "< 2 "
       "%}{% endfor %}",
       "12"},
      {"{% for i in [1, 2, 3] %}{% continue %}{% else %}none{% endfor %}", "none"},
      {"{% set g = [1, 2] | map('string') %}{{ g | list }}{{ g | list }}", "['1', '2'][]"},
      // A name that the template assigns later is its own from the beginning.
      {"{% macro f() %}[{{ n }}]{% endmacro %}{{ f() }}{% set n = 1 %}{{ f() }}", "[][1]"},
      {"{{ '<' | escape + '<' }}", "&lt;&lt;"},
      {"{{ '%s' | safe % '<' }}", "&lt;"},
      {"{{ 2 ** 64 }} {{ 2 ** 64 - 2 ** 64 + 1 }} {{ -7 // 2 }} {{ 2 ** 200 // 3 ** 50 % 1000 }}",
       "18446744073709551616 1 -4 433"},
      {"{{ '%5.1f|%-5d|%05d|%x|%+d|%s|%%' % (2.25, 42, -42, 255, 7, none) }}",
       "  2.2|42   |-0042|ff|+7|None|%"},
      {"{{ '{0:>5}|{0:^5}|{1:.2f}|{2:,}|{3!r}|{a[0]}'.format('x', 2.675, 1234567, 'q', a=[1]) }}",
       "    x|  x  |2.67|1,234,567|'q'|1"},
      {"{{ 'İ'.lower() | length }} {{ 'ΑΣ'.lower() }} {{ 'ǆ'.title() }} {{ 'ﬁ'.upper() }}",
       "2 ας ǅ FI"},
      {"{{ 1e22 }} {{ 1e21 + 1 }} {{ 123456789012345678.0 }} {{ 0.1 + 0.2 }} {{ -0.0 }} {{ 1e-5 }}",
       "1e+22 1e+21 1.2345678901234568e+17 0.30000000000000004 -0.0 1e-05"},
      {"{{ 2.5 | round }} {{ 3.5 | round }} {{ 2.675 | round(2) }} {{ 1234 | round(-2) }}",
       "2.0 4.0 2.67 1200"},
  };
  for (const auto& [source, expected] : cases) {
    const auto out = Render(source);
    ASSERT_TRUE(out.ok()) << source << ": " << out.status();
    EXPECT_EQ(*out, expected) << source;
  }
}

TEST(Template, RefusesWhatTheSandboxRefuses) {
  for (const char* source :
       {"{{ [].append(1) }}", "{{ {}.update({}) }}", "{{ ''.__class__.__mro__ }}",
        "{{ 0.5 * 10 ** 400 }}", "{{ 10 ** 400 / 2 }}", "{% include 'x' %}", "{% extends 'x' %}",
        "{% set ns = namespace(_x=1) %}", "\xff", "{{ '\\ud800' }}"}) {
    EXPECT_TRUE(absl::IsInvalidArgument(Render(source).status())) << source;
  }
}

}  // namespace
}  // namespace inhouse::engine::jinja

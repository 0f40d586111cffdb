"""Random templates: the binary's `render` against PyPI jinja2 in the environment of transformers' chat templates.

    tests/conformance/jinja_test.py            # 3000 templates, fixed seed
    tests/conformance/jinja_test.py 20000 7    # more of them, another seed

What both refuse counts as equal, whatever they say. The environment is the one that transformers builds
(utils/chat_template_utils.py); where transformers is installed, --transformers compares with its own.
"""

import copy
import datetime
import json
import os
import random
import subprocess
import sys
import unittest

import jinja2
import jinja2.ext
from jinja2.sandbox import ImmutableSandboxedEnvironment

VARIABLES = {
    "n": 5, "x": 2.5, "big": 12345678901234567890, "yes": True, "no": False, "nil": None, "e": "", "s": "Hello World",
    "t": "  padded\n", "q": "it's \"q\" \\ <&>\n\t/😀", "zh": "你好，世界", "nums": [3, 1, 2, 1], "words": ["b", "a", "C", "A"],
    "nested": [[1, 2], [3], []], "d": {"b": 1, "a": [1, 2.0], "c": {"k": None, "t": True}},
    "people": [{"name": "Ann", "age": 31, "admin": True}, {"name": "Bo", "age": 7, "admin": False}, {"name": "李", "age": 31}],
    "msgs": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "<think>why</think>\n\nyo"},
             {"role": "tool", "content": ""}],
}


class Generation(jinja2.ext.Extension):
    tags = {"generation"}

    def parse(self, parser):
        line = next(parser.stream).lineno
        body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
        return jinja2.nodes.CallBlock(self.call_method("_support"), [], [], body).set_lineno(line)

    def _support(self, caller):
        return caller()


def reference_environment():
    def raise_exception(message):
        raise jinja2.exceptions.TemplateError(message)

    def tojson(x, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
        return json.dumps(x, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)

    env = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True,
                                        extensions=[Generation, jinja2.ext.loopcontrols])
    env.filters["tojson"] = tojson
    env.globals["raise_exception"] = raise_exception
    env.globals["strftime_now"] = lambda f: datetime.datetime.now().strftime(f)
    return env


class Maker:
    """Makes templates that are mostly right, and often enough wrong."""

    def __init__(self, seed):
        self.r = random.Random(seed)

    def pick(self, *options):
        return self.r.choice(options)

    def atom(self):
        r = self.r
        return r.choice([
            lambda: str(r.randint(-3, 12)), lambda: str(r.choice([0.0, 0.5, 1e16, 1.5e-7, 2.675, 100.0, 3.0])),
            lambda: r.choice(["true", "false", "none", "True", "None"]),
            lambda: json.dumps(r.choice(["", "a", "abc", "Hello World", "a,b,,c", " x y ", "12", "3.7", "-0x1f", "你好 😀", "it's", "ß İ Σς",
                                         "a\nb\n\nc", "<b>&", "%s-%d", "{}:{a}"]), ensure_ascii=False),
            lambda: r.choice(list(VARIABLES) + ["missing"]), lambda: r.choice(list(VARIABLES)),
            lambda: r.choice(["nums[0]", "d.a", "d['c']", "d.c.t", "msgs[1].content", "people[0].name", "d.zz", "nums[10]", "s[0]", "zh[-1]"]),
        ])()

    def expr(self, depth=3):
        r = self.r
        if depth <= 0 or r.random() < 0.25:
            return self.atom()
        e = lambda: self.expr(depth - 1)
        return r.choice([
            lambda: f"{e()} {self.pick('+', '-', '*', '/', '//', '%', '~', '~', '+')} {e()}",
            lambda: f"({e()}) {self.pick('+', '-', '*', '~', '%')} ({e()})",
            lambda: f"{e()} {self.pick('==', '!=', '<', '<=', '>', '>=', 'in', 'not in', 'and', 'or')} {e()}",
            lambda: f"not {e()}", lambda: f"-{e()}", lambda: f"({e()})", lambda: f"{self.atom()} ** {r.randint(-2, 4)}",
            lambda: f"{e()} if {e()} else {e()}", lambda: f"({e()} if {e()})",
            lambda: "[" + ", ".join(e() for _ in range(r.randint(0, 3))) + "]",
            lambda: "(" + "".join(e() + ", " for _ in range(r.randint(0, 3))) + ")",
            lambda: "{" + ", ".join(f"{self.atom()}: {e()}" for _ in range(r.randint(0, 3))) + "}",
            lambda: self.filtered(depth), lambda: self.filtered(depth), lambda: self.filtered(depth), lambda: self.method(depth), lambda: self.method(depth),
            lambda: self.tested(depth), lambda: self.sliced(depth), lambda: f"{e()} < {e()} < {e()}",
            lambda: f"{e()} is {self.pick('', 'not ')}{self.test()}",
        ])()

    def sliced(self, depth):
        part = lambda: self.pick("", "", "0", "1", "2", "-1", "-2", "5", "n")
        base = self.pick("nums", "s", "zh", "words", "(1, 2, 3, 4)", "q", "range(7)|list", "missing", "d", "n", "nil", "x")
        return f"({base})[{part()}:{part()}{self.pick('', ':' + self.pick('1', '2', '-1', '-2', ''))}]"

    def test(self):
        return self.pick("defined", "undefined", "none", "string", "number", "integer", "float", "boolean", "mapping", "sequence", "iterable",
                         "callable", "true", "false", "odd", "even", "lower", "upper", "divisibleby 2", "divisibleby(3)", "eq 1", "in nums",
                         "in [1, 'a']", "sameas none", "gt 1", "lt(2)", "ne 'a'", "ge 2", "filter", "test", "escaped", "equalto('a')", "nope")

    def tested(self, depth):
        return f"{self.expr(depth - 1)} is {self.pick('', 'not ')}{self.test()}"

    def filtered(self, depth):
        r = self.r
        base = self.pick(self.expr(depth - 1), self.atom(), "nums", "words", "people", "d", "s", "nested", "msgs", "zh", "q")
        name = r.choice([
            "upper", "lower", "title", "capitalize", "trim", "trim('ab')", "length", "count", "first", "last", "list", "join", "join(', ')", "join('-', attribute='name')",
            "string", "int", "int(7)", "int(base=16)", "float", "float(1.5)", "abs", "round", "round(1)", "round(2, 'floor')", "round(0, 'ceil')", "default('D')",
            "default('D', true)", "d(1)", "reverse", "reverse|list", "sort", "sort(reverse=true)", "sort(case_sensitive=true)", "sort(attribute='age')",
            "unique|list", "map('upper')|list", "map(attribute='name')|list", "map(attribute='age', default=0)|list", "map('string')|join('|')", "map('length')|list",
            "select|list", "select('odd')|list", "reject('none')|list", "select('string')|list", "selectattr('admin')|list|length",
            "selectattr('age', 'gt', 10)|map(attribute='name')|list", "rejectattr('admin')|list", "selectattr('name', 'in', ['Ann'])|list", "sum", "sum(start=1)",
            "sum(attribute='age')", "max", "min", "max(attribute='age')", "tojson", "tojson(indent=2)", "tojson(sort_keys=true)", "tojson(ensure_ascii=true)",
            "tojson(separators=(',', ':'))", "dictsort", "dictsort(true)", "dictsort(by='value')", "items|list", "batch(2)|list", "batch(3, 'z')|list", "slice(2)|list",
            "slice(3, 0)|list", "groupby('age')|length", "groupby('age')|map('first')|list", "indent", "indent(2, true)", "indent('> ')", "indent(width=1, blank=true)", "replace('a', 'b')",
            "replace('l', '', 1)", "wordcount", "center(9)", "truncate(5)", "truncate(4, true, '')", "truncate(6, end='~', leeway=0)", "escape", "e", "safe", "striptags",
            "urlencode", "format(1, 'a')", "format", "attr('upper') is callable", "filesizeformat", "filesizeformat(true)", "xmlattr", "nofilter", "forceescape",
        ])
        return f"({base}) | {name}" if r.random() < 0.6 else f"{base} | {name}"

    def method(self, depth):
        r = self.r
        base = self.pick("s", "q", "zh", "t", "e", "'a,b,,c'", "'ab' * 3", f"({self.expr(depth - 1)})", f"({self.expr(depth - 1)})|string", "d", "nums", "words", "n", "x")
        call = r.choice([
            "upper()", "lower()", "title()", "capitalize()", "swapcase()", "casefold()", "strip()", "lstrip()", "rstrip('\\n')", "strip('a')", "split()", "split(',')",
            "split(' ', 1)", "rsplit('l', 1)", "rsplit(None, 1)", "split(maxsplit=1)", "splitlines()", "splitlines(true)", "partition('l')", "rpartition('o')", "replace('l', 'L')",
            "replace('', '-', 2)", "find('o')", "rfind('o')", "index('o')", "find('l', 3)", "find('l', -4, -1)", "count('l')", "count('')", "startswith('He')", "endswith(('d', 'x'))",
            "startswith('l', 2)", "join(words)", "join(nums)", "center(15, '*')", "ljust(14)", "rjust(14, '.')", "zfill(14)", "isdigit()", "isalpha()", "isspace()", "isupper()",
            "islower()", "istitle()", "isalnum()", "isnumeric()", "isidentifier()", "isprintable()", "isascii()", "isdecimal()", "removeprefix('He')", "removesuffix('ld')",
            "expandtabs(4)", "format(1, a=2)", "get('a')", "get('zz', 1)", "keys()|list", "values()|list", "items()|list", "items()", "keys()", "copy()", "index(1)", "count(1)", "append(1)", "update({})",
            "pop()", "bit_length()", "is_integer()", "nope()", "real", "__class__", "format_map({'a': 1})",
        ])
        return f"{base}.{call}"

    def block(self, depth):
        r = self.r
        b = lambda: self.body(depth - 1)
        sign = lambda: self.pick("", "", "", "-", "+")
        nl = lambda: self.pick("", "", "\n", "  \n", "\n  ", " ")
        o, c = lambda: "{%" + sign(), lambda: self.pick("", "", "", "-") + "%}"
        iterable = self.pick("nums", "words", "msgs", "d", "s[:3]", "[]", "missing", "range(3)", "d.items()", "nested", self.expr(1))
        loop = self.pick("loop.index", "loop.first", "loop.last", "loop.length", "loop.revindex", "loop.cycle('a', 'b')", "loop.previtem", "loop.nextitem", "loop.changed(i)",
                         "loop.index0", "loop.depth", "i", "i", "i")
        return r.choice([
            lambda: f"{o()} if {self.expr(2)} {c()}{nl()}{b()}{nl()}{o()} endif {c()}",
            lambda: f"{o()} if {self.expr(2)} {c()}{b()}{o()} elif {self.expr(1)} {c()}{b()}{o()} else {c()}{nl()}{b()}{o()} endif {c()}",
            lambda: f"{o()} for i in {iterable} {c()}{nl()}{{{{ {loop} }}}}{b()}{nl()}{o()} endfor {c()}",
            lambda: f"{o()} for i in {iterable} if {self.pick('i', 'i != 1', 'loop', self.expr(1))} {c()}{{{{ {loop} }}}},{o()} else {c()}none{o()} endfor {c()}",
            lambda: f"{o()} for k, v in {self.pick('d.items()', 'd|items', 'd|dictsort', 'nested', '[(1, 2)]')} {c()}{{{{ k }}}}={{{{ v }}}};{o()} endfor {c()}",
            lambda: f"{o()} for i in nums {c()}{o()} if i == {r.randint(1, 3)} {c()}{o()} {self.pick('break', 'continue')} {c()}{o()} endif {c()}{{{{ i }}}}{o()} else {c()}E{o()} endfor {c()}",
            lambda: f"{o()} set {self.pick('a', 'b', 'n', 'nums')} = {self.expr(2)} {c()}{nl()}",
            lambda: f"{o()} set a, b = {self.pick('1, 2', 'nums[:2]', self.expr(1))} {c()}{{{{ a }}}}{{{{ b }}}}",
            lambda: f"{o()} set a {c()}{nl()}{b()}{o()} endset {c()}[{{{{ a }}}}]",
            lambda: f"{o()} set a | upper {c()}{b()}{o()} endset {c()}[{{{{ a }}}}]",
            lambda: f"{{% set ns = namespace(v={self.atom()}) %}}{{% for i in nums %}}{{% set ns.v = ns.v {self.pick('+', '~')} i %}}{{% endfor %}}{{{{ ns.v }}}}",
            lambda: f"{o()} macro f(a, b={self.atom()}) {c()}<{{{{ a }}}}|{{{{ b }}}}{b()}>{o()} endmacro {c()}{{{{ f({self.pick('', '1', '1, 2', 'b=3', 'a=1, b=2', '1, 2, 3', self.atom())}) }}}}",
            lambda: f"{{% macro g(a) %}}{{{{ caller({self.pick('', 'a')}) }}}}!{{% endmacro %}}{{% call{self.pick('', '(v)')} g(1) %}}{b()}{{% endcall %}}",
            lambda: f"{{% macro h() %}}{{{{ varargs }}}}{{{{ kwargs }}}}{{% endmacro %}}{{{{ h({self.pick('', '1', 'a=1', '1, a=2', '*nums', '**d')}) }}}}",
            lambda: f"{o()} with a = {self.expr(1)}, b = 2 {c()}{{{{ a }}}}{b()}{o()} endwith {c()}",
            lambda: f"{o()} filter {self.pick('upper', 'trim', 'replace(s, e) | title', 'indent')} {c()}{b()}{o()} endfilter {c()}",
            lambda: f"{{% raw {c()}{{{{ n }}}} {{% if %}}{o()} endraw {c()}", lambda: f"{{#{self.pick('', '-')} comment {{{{ n }}}} {self.pick('', '-')}#}}{nl()}",
            lambda: f"{{% generation %}}{b()}{{% endgeneration %}}", lambda: f"{{% for a in nested recursive %}}({{{{ loop(a) if a is iterable else a }}}}{{{{ loop.depth }}}}){{% endfor %}}",
            lambda: f"{o()} for i in nums {c()}{o()} set z = {self.pick('i', 'z|default(0) + i', 'nums')} {c()}{{{{ z }}}}{o()} endfor {c()}{{{{ z }}}}",
            lambda: "{% unknown %}", lambda: "{% endif %}", lambda: "{{ n", lambda: "{% if yes %}",
        ])()

    def body(self, depth):
        r = self.r
        parts = []
        for _ in range(r.randint(1, 2)):
            k = r.random()
            if k < 0.25:
                parts.append(self.pick("text", " ", "\n", "  \n", "\r\n", "a\n  ", "{", "}", "你", "% }", "\t"))
            elif k < 0.65 or depth <= 0:
                parts.append("{{" + self.pick("", "", "-") + " " + self.expr(2) + " " + self.pick("", "", "-") + "}}")
            else:
                parts.append(self.block(depth))
        return "".join(parts)

    def template(self):
        return "{{ " + self.expr(3) + " }}" if self.r.random() < 0.45 else self.body(3)


def reference(env, template):
    try:
        # A copy: `indent` of a list changes the list.
        out = env.from_string(template).render(**copy.deepcopy(VARIABLES))
        out.encode()
        return out
    except Exception:  # an error is an error
        return None


def unstable(text):
    """Python prints addresses here, or what cannot be compared."""
    return text is not None and any(w in text for w in (" at 0x", " AT 0X", " at 0X", " At 0X", "<bound", "<built-in", "<class ", "<function", "<LoopContext", "<Macro", "Cycler", "<jinja2"))


def compare(count, seed):
    env = reference_environment()
    maker = Maker(seed)
    cases = []
    while len(cases) < count:
        template = maker.template()
        expected = reference(env, template)
        if not unstable(expected):
            cases.append((template, expected))
    lines = "".join(json.dumps({"template": t, **VARIABLES}, ensure_ascii=False) + "\n" for t, _ in cases)
    run = subprocess.run([os.environ.get("INHOUSE_BIN", "build/dev/inhouse"), "render", "--jsonl"], input=lines.encode(), stdout=subprocess.PIPE, check=False)
    answers = [json.loads(line) for line in run.stdout.decode().splitlines()]
    bad = []
    for (template, expected), answer in zip(cases, answers, strict=True):
        if answer.get("prompt") != expected or (expected is None) != ("error" in answer):
            bad.append((template, expected, answer))
    return bad, sum(e is None for _, e in cases)


class JinjaTest(unittest.TestCase):
    def test_random_templates(self):
        bad, errors = compare(3000, 20240715)
        self.assertGreater(errors, 200)
        self.assertLess(errors, 2500)
        self.assertEqual(bad[:5], [], f"{len(bad)} of 3000 differ")


if __name__ == "__main__":
    if len(sys.argv) > 2:
        differing, failing = compare(int(sys.argv[1]), int(sys.argv[2]))
        for template, expected, answer in differing[:40]:
            print(json.dumps(template, ensure_ascii=False), "\n   ref ", repr(expected), "\n   ours", answer)
        print(len(differing), "differ;", failing, "are errors in the reference")
        sys.exit(1 if differing else 0)
    unittest.main()

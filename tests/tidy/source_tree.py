"""What the checks read: the files of the tree, and C++ with its comments and strings blanked."""

import os
import re
import subprocess
from dataclasses import dataclass, field

CPP = (".cc", ".h")
# Fixtures are data: their words, lines and paths are not ours.
DATA = ("tests/fixtures/", "tests/fuzz/corpus/")


@dataclass(frozen=True, order=True)
class Finding:
    path: str
    line: int
    check: str
    message: str

    def __str__(self):
        return f"{self.path}:{self.line}: {self.check}: {self.message}"


@dataclass
class CppFile:
    """One C++ file; line i of each list is line i + 1 of the file."""

    path: str
    raw: list = field(default_factory=list)
    code: list = field(default_factory=list)  # comments and the insides of literals are blanks
    in_raw_string: set = field(default_factory=set)  # numbers of lines that a raw string covers
    includes: list = field(default_factory=list)  # (line number, path between the quotes)


class Tree:
    """The tracked and new files below `root` (all files when `root` is no git tree)."""

    def __init__(self, root):
        self.root = os.path.abspath(root)
        self.files = sorted(f for f in self._list() if os.path.isfile(self.full(f)))
        self._set = set(self.files)
        self._cpp = {}

    def _list(self):
        git = subprocess.run(
            ["git", "-C", self.root, "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            capture_output=True, text=True, check=False)
        if git.returncode == 0 and os.path.exists(os.path.join(self.root, ".git")):
            return set(git.stdout.split("\0")) - {""}
        found = []
        for folder, folders, names in os.walk(self.root):
            folders[:] = [d for d in folders if d not in (".git", "build", "__pycache__")]
            found += [os.path.relpath(os.path.join(folder, n), self.root) for n in names]
        return found

    def full(self, path):
        return os.path.join(self.root, path)

    def has(self, path):
        return path in self._set

    def text(self, path):
        """The file as text, or None when it is not UTF-8 (a binary file)."""
        try:
            with open(self.full(path), encoding="utf-8", newline="") as f:
                return f.read()
        except UnicodeDecodeError:
            return None

    def select(self, *endings):
        return [f for f in self.files if f.endswith(endings) and not f.startswith(DATA)]

    def cpp(self, path):
        if path not in self._cpp:
            self._cpp[path] = lex(path, self.text(path) or "")
        return self._cpp[path]


# One token that hides code: a comment, a raw string, a string or a character. A quote between
# digits (1'000) is none of these, which the look-behind says.
_HIDING = re.compile(
    r"//[^\n]*(?:\\\n[^\n]*)*"
    r"|/\*.*?(?:\*/|\Z)"
    r'|\b(?:u8|u|U|L)?R"(?P<tag>[^()\\\s]{0,16})\(.*?\)(?P=tag)"'
    r'|"(?:\\.|[^"\\\n])*"'
    r"|(?<![0-9a-zA-Z_])(?:u8|u|U|L)?'(?:\\.|[^'\\\n])+'",
    re.DOTALL)
_INCLUDE = re.compile(r'^\s*#\s*include\s+"([^"]+)"')


def lex(path, text):
    """Blanks comments and literals and keeps every line break, so that line numbers stay."""
    raw_lines = set()

    def blank(match):
        token = match.group(0)
        if 'R"' in token[:4]:
            first = text.count("\n", 0, match.start()) + 1
            raw_lines.update(range(first, first + token.count("\n") + 1))
        hidden = re.sub(r"[^\n]", " ", token)
        if token[0] in "/":
            return hidden
        return '"' + hidden[1:-1] + '"' if len(hidden) > 1 else hidden

    code = _HIDING.sub(blank, text).split("\n")
    raw = text.split("\n")
    includes = []
    for number, line in enumerate(raw, 1):
        match = _INCLUDE.match(line)
        if match and "#" in code[number - 1]:  # not inside a comment or a raw string
            includes.append((number, match.group(1)))
    return CppFile(path, raw, code, raw_lines, includes)


def first_branch(lines):
    """Blanks directives and all but the first branch of each #if: braces then balance."""
    out, skip, depth, continued = [], [], 0, False
    for line in lines:
        directive = line.lstrip().startswith("#")
        if directive and not continued:
            word = re.match(r"\s*#\s*(\w*)", line).group(1)
            if word in ("if", "ifdef", "ifndef"):
                depth += 1
            elif word in ("else", "elif"):
                if depth not in skip:
                    skip.append(depth)
            elif word == "endif":
                if depth in skip:
                    skip.remove(depth)
                depth -= 1
        hide = directive or continued or bool(skip)
        continued = (directive or continued) and line.endswith("\\")
        out.append("" if hide else line)
    return out

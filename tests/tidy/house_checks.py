"""Checks of the house: floors, CMake targets, file sets, orphans, room pages."""

import os
import posixpath
import re

from source_tree import CPP, Finding

LAYERS = "docs/layers.txt"
OUTSIDE = ("tests/", "bench/")  # belong to no room; may use any of them


class Layers(dict):
    """Floors by room; `part_of` names the room of a path that is only a part of one."""

    def __init__(self):
        super().__init__()
        self.part_of = {}


def read_layers(tree):
    layers = Layers()
    for line in tree.text(LAYERS).split("\n"):
        words = line.split("#")[0].split()
        if len(words) == 2:
            layers[words[0]] = int(words[1])
        elif len(words) == 3:
            layers[words[0]] = int(words[1])
            layers.part_of[words[0]] = words[2]
    return layers


def room_of(layers, path):
    """The room with the longest path that holds `path`, or None."""
    fits = [room for room in layers if path == room or path.startswith(room + "/")]
    room = max(fits, key=len, default=None)
    return getattr(layers, "part_of", {}).get(room, room)


def resolve(tree, path, name):
    """The file that `#include "name"` in `path` means, when it is one of ours."""
    beside = posixpath.normpath(posixpath.join(posixpath.dirname(path), name))
    # The front door is included as <engine/...>: its root is engine/include.
    for candidate in (name, beside, posixpath.join("engine/include", name)):
        if tree.has(candidate):
            return candidate
    return None


def layers_check(tree):
    layers = read_layers(tree)
    for path in tree.select(*CPP):
        if path.startswith(OUTSIDE):
            continue
        room = room_of(layers, path)
        if room is None:
            yield Finding(path, 1, "layers", f"stands in no room of {LAYERS}")
            continue
        for number, name in tree.cpp(path).includes:
            target = resolve(tree, path, name)
            if target is None:
                continue  # a library
            if target != name and not target.startswith("engine/include/"):
                yield Finding(path, number, "layers", f"write the path from the root: \"{target}\"")
            other = room_of(layers, target)
            if other is None:
                yield Finding(path, number, "layers", f"{target} stands in no room of {LAYERS}")
            elif other != room and layers[other] >= layers[room]:
                way = "up" if layers[other] > layers[room] else "sideways"
                yield Finding(path, number, "layers",
                              f"points {way}: {room} (floor {layers[room]}) includes "
                              f"{other} (floor {layers[other]})")


_COMMAND = re.compile(r"(\w+)\s*\(((?:[^()\"]|\"(?:\\.|[^\"])*\"|\([^()]*\))*)\)", re.DOTALL)
_KEYWORDS = {"NAME", "HEADERS", "SOURCES", "DEPS", "PRIVATE_DEPS", "LABELS", "FILES"}


class CMakeFile:
    """The commands of one CMakeLists.txt, with the variables that it sets itself expanded."""

    def __init__(self, path, text):
        self.path = path
        self.folder = posixpath.dirname(path)
        text = re.sub(r"#[^\n]*", "", text)
        self.commands = [(m.group(1).lower(), m.group(2).replace('"', " ").replace(";", " ").split(),
                          text.count("\n", 0, m.start()) + 1) for m in _COMMAND.finditer(text)]
        self.variables = {}
        for name, words, _ in self.commands:
            if name in ("set", "foreach") and words:
                self.variables.setdefault(words[0], []).extend(words[1:])
            elif name == "list" and words[:1] == ["APPEND"] and len(words) > 1:
                self.variables.setdefault(words[1], []).extend(words[2:])

    def expand(self, word, depth=4):
        """Every spelling that `word` can have: `x/${level}.cc` for each level of a foreach."""
        match = re.search(r"\$\{(\w+)\}", word)
        if not match or depth == 0:
            return [word]
        return [spelling for value in self.variables.get(match.group(1), [])
                for spelling in self.expand(word.replace(match.group(0), value), depth - 1)]

    def files(self):
        """Paths from the root of every word that could be a file beside this one."""
        words = [w for _, args, _ in self.commands for arg in args for w in self.expand(arg)]
        return {posixpath.normpath(posixpath.join(self.folder, w)) for w in words if w.endswith(CPP)}

    def section(self, args, keyword):
        taken, on = [], False
        for arg in args:
            if arg in _KEYWORDS:
                on = arg == keyword
            elif on:
                taken += self.expand(arg)
        return taken


def cmake_files(tree):
    return [CMakeFile(p, tree.text(p)) for p in tree.files if p.split("/")[-1] == "CMakeLists.txt"]


def targets_check(tree):
    """A room's target links only targets of lower floors or of its own room."""
    layers, pages = read_layers(tree), cmake_files(tree)
    rooms, calls = {}, []
    for page in pages:
        for name, args, line in page.commands:
            target = "".join(page.section(args, "NAME"))
            if name == "inhouse_room" and target:
                rooms["inhouse::" + target] = room_of(layers, page.folder)
                deps = page.section(args, "DEPS") + page.section(args, "PRIVATE_DEPS")
                calls.append((page, line, target, deps))
    for page, line, target, deps in calls:
        room = room_of(layers, page.folder)
        if room is None:
            yield Finding(page.path, line, "targets", f"{target} stands in no room of {LAYERS}")
            continue
        for dep in deps:
            other = rooms.get(dep)
            if other and other != room and layers[other] >= layers[room]:
                yield Finding(page.path, line, "targets",
                              f"{target} (floor {layers[room]}) links {dep} (floor {layers[other]})")


def orphans(tree):
    """Every .cc is compiled; a header is in a file set, or private to the room that includes it."""
    layers = read_layers(tree)
    listed, public = set(), set()
    for page in cmake_files(tree):
        listed |= page.files()
        for name, args, _ in page.commands:
            public |= {posixpath.normpath(posixpath.join(page.folder, w))
                       for w in page.section(args, "HEADERS") + page.section(args, "FILES")}
    users = {}
    for path in tree.select(*CPP):
        for _, name in tree.cpp(path).includes:
            target = resolve(tree, path, name)
            if target:
                users.setdefault(target, set()).add(path)
    for path in tree.select(*CPP):
        if path.endswith(".cc"):
            if path not in listed:
                yield Finding(path, 1, "orphan", "in no CMakeLists.txt")
        elif path not in public and not path.startswith(OUTSIDE):
            room = room_of(layers, path)
            strangers = sorted(u for u in users.get(path, ()) if room_of(layers, u) != room)
            if strangers:
                yield Finding(path, 1, "orphan", f"{strangers[0]} includes it, but it is in no file "
                              "set: list it under HEADERS of its room")
            elif not users.get(path):
                yield Finding(path, 1, "orphan", "in no file set and included by nobody")


def readmes(tree):
    """Each room with code has a page: purpose, what comes in, what goes out, what it must not know."""
    layers = read_layers(tree)
    with_code = {room_of(layers, p) for p in tree.select(*CPP) if not p.startswith(OUTSIDE)} - {None}
    for room in sorted(with_code):
        pages = [p for p in tree.files if p.startswith(room + "/") and os.path.basename(p) == "README.md"]
        if not pages:
            yield Finding(room, 1, "readme", "the room has no README.md")

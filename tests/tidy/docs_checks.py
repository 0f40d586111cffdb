"""Checks of the pages: links that point to nothing, and the two languages side by side."""

import posixpath
import re
import unicodedata

from source_tree import Finding

_FENCE = re.compile(r"^\s*(```|~~~)")
_LINK = re.compile(r"!?\[[^\]]*\]\(\s*<?([^)\s>]+)>?(?:\s+\"[^\"]*\")?\s*\)")
_HEADING = re.compile(r"^(#{1,6})\s+(.+?)\s*#*\s*$")


def prose(text):
    """(line number, line) outside fenced code; inline code is blanked."""
    fenced = False
    for number, line in enumerate(text.split("\n"), 1):
        if _FENCE.match(line):
            fenced = not fenced
        elif not fenced:
            yield number, re.sub(r"`[^`]*`", lambda m: "`" + " " * (len(m.group(0)) - 2) + "`", line)


def headings(text):
    """(level, title) of every heading outside fenced code."""
    fenced = False
    for line in text.split("\n"):
        if _FENCE.match(line):
            fenced = not fenced
        match = None if fenced else _HEADING.match(line)
        if match:
            yield len(match.group(1)), match.group(2)


def anchors(text):
    """The anchors that GitHub and GitLab give to the headings of a page."""
    seen, found = {}, set(re.findall(r'<a\s+(?:id|name)="([^"]+)"', text))
    for _, title in headings(text):
        title = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", title).lower()
        kept = [c for c in title if c in " -_" or unicodedata.category(c)[0] in "LNM"]
        slug = "".join(kept).replace(" ", "-")
        count = seen.get(slug, 0)
        seen[slug] = count + 1
        found.add(slug if count == 0 else f"{slug}-{count}")
    return found


def links(tree):
    folders = {posixpath.dirname(f) for f in tree.files}
    folders |= {parent for f in list(folders) for parent in _parents(f)}
    for path in tree.select(".md"):
        for number, line in prose(tree.text(path) or ""):
            for target in _LINK.findall(line):
                if re.match(r"[a-z][a-z0-9+.-]*:", target):
                    continue  # another site; nobody asks the network in a test
                name, _, anchor = target.partition("#")
                page = posixpath.normpath(posixpath.join(posixpath.dirname(path), name)) if name else path
                if name.startswith("/") or not (tree.has(page) or page in folders):
                    yield Finding(path, number, "links", f"{target} points to nothing")
                elif anchor and page.endswith(".md") and anchor not in anchors(tree.text(page)):
                    yield Finding(path, number, "links", f"{page} has no heading #{anchor}")


def _parents(folder):
    while folder:
        folder = posixpath.dirname(folder)
        yield folder


def languages(tree):
    """X.md and its Chinese page (X.zh-CN.md, or zh/X.md below it) have the same outline."""
    for path in tree.select(".md"):
        folder, name = posixpath.split(path)
        if folder.endswith("/zh"):
            original = posixpath.join(posixpath.dirname(folder), name)
        elif name.endswith(".zh-CN.md"):
            original = posixpath.join(folder, name.replace(".zh-CN.md", ".md"))
        else:
            continue
        if not tree.has(original):
            yield Finding(path, 1, "languages", f"there is no {original}")
            continue
        ours = [level for level, _ in headings(tree.text(path))]
        theirs = [level for level, _ in headings(tree.text(original))]
        if ours != theirs:
            yield Finding(path, 1, "languages", f"{len(ours)} headings {ours}, but {original} has "
                          f"{len(theirs)} {theirs}: keep the sections side by side")
    folders = {posixpath.dirname(posixpath.dirname(p)) for p in tree.select(".md")
               if posixpath.basename(posixpath.dirname(p)) == "zh"}
    for path in tree.select(".md"):
        folder, name = posixpath.split(path)
        if folder in folders and not tree.has(posixpath.join(folder, "zh", name)):
            yield Finding(path, 1, "languages", f"there is no {posixpath.join(folder, 'zh', name)}")
    if tree.has("README.md") and not tree.has("README.zh-CN.md"):
        yield Finding("README.md", 1, "languages", "there is no README.zh-CN.md")

"""The figures of a run as an SVG: ratios to llama.cpp and shares of the limit, each beside its target.

Written by hand rather than with a plotting library: a page of bars needs none, and the file stays readable.
"""

import sys

import targets

WIDTH, LABEL, BAR, GAP, ROW = 960, 210, 300, 60, 24
HIT, MISS, PEER, TEXT, LINE = "#1f7a5c", "#c2571a", "#9aa5b1", "#1c2733", "#55606c"
TITLES = {"1.5b": "1.5B Qwen2 shape", "7b": "7B Llama shape"}


class Svg:
    def __init__(self):
        self.parts, self.y = [], 0

    def text(self, x, y, content, size=12, anchor="start", weight="normal", colour=TEXT):
        content = content.replace("&", "&amp;").replace("<", "&lt;")
        self.parts.append(f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}" '
                          f'font-weight="{weight}" fill="{colour}">{content}</text>')

    def bar(self, x, y, width, colour):
        self.parts.append(f'<rect x="{x:.1f}" y="{y:.1f}" width="{max(width, 1):.1f}" height="13" rx="2" fill="{colour}"/>')

    def mark(self, x, y):
        self.parts.append(f'<line x1="{x:.1f}" y1="{y - 3:.1f}" x2="{x:.1f}" y2="{y + 16:.1f}" stroke="{TEXT}" stroke-width="2"/>')

    def write(self, path):
        head = (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {self.y + 16}" '
                f'font-family="system-ui, sans-serif">\n<rect width="100%" height="100%" fill="#ffffff"/>\n')
        with open(path, "w", encoding="utf-8") as f:
            f.write(head + "\n".join(self.parts) + "\n</svg>\n")


def figure_bar(svg, x, value, target, full, label):
    """A bar of `value` on a scale that ends at `full`, with a mark at its target."""
    y = svg.y
    svg.bar(x, y, min(value / full, 1) * BAR, HIT if value >= target else MISS)
    svg.mark(x + min(target / full, 1) * BAR, y)
    svg.text(x + min(max(value, target) / full, 1) * BAR + 6, y + 11, label, 11)


def shape_rows(record, results):
    wide = "avx512" in (record["isa"] or "")
    for row in targets.ROWS:
        figures = targets.evaluate(row, results, wide)
        if figures and "error" not in figures:
            yield row, figures


def draw_shape(svg, record, results):
    rows = list(shape_rows(record, results))
    if not rows:
        return
    full = max([f["ratio"] for _, f in rows if "ratio" in f] + [f["ratio_target"] for _, f in rows]) * 1.05
    svg.text(16, svg.y + 12, TITLES[results["shape"]], 15, weight="bold")
    svg.text(LABEL, svg.y + 12, "times llama.cpp", 12, colour=LINE)
    svg.text(LABEL + BAR + GAP, svg.y + 12, "of the limit measured beside it", 12, colour=LINE)
    svg.y += 26
    for row, figures in rows:
        svg.text(LABEL - 8, svg.y + 11, f"{targets.title(row, record)}, {targets.NAMES[row.model]}", 11, "end")
        if "ratio" in figures:
            figure_bar(svg, LABEL, figures["ratio"], figures["ratio_target"], full, f"{figures['ratio']:.2f}×")
        figure_bar(svg, LABEL + BAR + GAP, figures["share"], figures["share_target"], 1.0, f"{figures['share']:.0%}")
        svg.y += ROW
    svg.y += 14


def draw(record, path):
    svg = Svg()
    svg.y = 14
    svg.text(16, svg.y + 12, f"inhouse beside llama.cpp, {record['date']}", 17, weight="bold")
    svg.y += 30
    svg.text(16, svg.y + 2, f"{record['cpu']}, {record['threads']} threads, {record['isa']}; medians of {record['rounds']} "
             "interleaved rounds", 12, colour=LINE)
    svg.y += 14
    for x, colour, label in ((16, HIT, "target reached"), (130, MISS, "target missed")):
        svg.bar(x, svg.y, 13, colour)
        svg.text(x + 18, svg.y + 11, label, 11)
    svg.mark(250, svg.y)
    svg.text(257, svg.y + 11, "target", 11)
    svg.y += 34
    for results in record["results"]:
        if results["shape"] in TITLES:
            draw_shape(svg, record, results)
    svg.write(path)


if __name__ == "__main__":  # picture.py RUN.json OUT.svg
    import json

    with open(sys.argv[1], encoding="utf-8") as run:
        draw(json.load(run), sys.argv[2])

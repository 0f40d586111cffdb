#!/usr/bin/env python3
"""Text of every kind that a tokenizer meets, from a seed: mixed_text.py [--chars N] [--seed S] > FILE

Chinese, Japanese, Korean, English, other scripts, code, numbers, emoji with joiners, combining marks,
odd white space, controls, code points from all planes, and any strings that the caller adds (the
special tokens of a tokenizer).
"""

import argparse
import random
import sys

ENGLISH = """the of and to in is you that it he was for on are as with his they I at be this have from or
one had by word but not what all were we when your can said there use an each which she do how their if
will up other about out many then them these so some her would make like him into time has look two more
write go see number no way could people my than first water been call who oil its now find long down day
did get come made may part tokenizer Attention inference DeepSeek GPU quantized latency throughput don't
I'll you're we've she'd it's I'm DON'T WE'VE O'Brien naïve café résumé Zürich Führer coöperate Æther""".split()
CHINESE = """的一是不了在人有我他这个们中来上大为和国地到以说时要就出会可也你对生能而子那得于着下自之年过发后作里
用道行所然家种事成方多经么去法学如都同现当没动面起看定天分还进好小部其些主样理心她本前开但因只从想实日军者意无力它
与长把机十民第公此已工使情明性知全三又关点正业外将两高间由问很最重并物手应战向头文体政美相见被利什二等产或新己制身
果加西斯月话合回特代内信表化老给世位次度门任常先海通教儿原东声提立及比员解水名真论处走义各入几口认条平系气题活尔更
别打女变四神总何电数安少报才结反受目太量再感建务做接必场件计管期市直德资命山金指克许统区保至队形社便空决治展马科司""".replace("\n", "")
CHINESE_MARKS = "，。！？；：、“”‘’（）《》【】…—·「」『』～"
KANA = "".join(map(chr, list(range(0x3041, 0x3097)) + list(range(0x30A0, 0x3100))))
EMOJI = ["😀", "🎉", "👍🏽", "👨‍👩‍👧‍👦", "🏳️‍🌈", "🇨🇳", "🇺🇳", "❤️", "☺️", "👩🏻‍💻", "🧑🏿‍🤝‍🧑🏻", "🏴‍☠️", "#️⃣", "🫠", "🛰️", "🏴󠁧󠁢󠁥󠁮󠁧󠁿"]
CODE = [
    "for (int i = 0; i < n; ++i) {\n    sum += a[i] * b[i];\n}\n",
    "def f(x: int = 3, *args, **kwargs) -> dict[str, int]:\n\treturn {'a': x, **kwargs}\n",
    "SELECT id, COUNT(*) FROM t WHERE name LIKE '%x%' GROUP BY 1;\r\n",
    "<div class=\"a b\">&nbsp;<!-- c --></div>\n",
    "template <typename T>\nstruct S { std::vector<T> v; };\r\n\r\n",
    "#!/usr/bin/env bash\nset -euo pipefail\nfor f in *.txt; do echo \"$f\" >&2; done\n",
    "{\"key\": [1, 2.5e-3, null, true], \"k2\": \"\\u00e9\\n\"}",
    "x = lambda y: y**2 if y != 0x1F else ~y & 0b101 | 1_000_000\n",
    "\\frac{\\partial L}{\\partial w_{ij}} = \\sum_{k=1}^{n} \\alpha_k\\,x_k\n",
    "fn main() { let v: Vec<u8> = vec![0; 10]; println!(\"{:?}\", &v[..]); }\n",
    "https://example.org/a/b?c=d&e=%20#frag user@example.com C:\\Users\\x\\y.txt\n",
]
SPACES = [" ", "  ", "   ", "    ", "\t", "\t\t", "\n", "\n\n", "\r\n", "\r", " \n", "\n ", " \t ", "\u00a0", "\u3000", "\u2003", "\u2009",
          "\u200b", "\u202f", "\u1680", "\u180e", "\u2028", "\u2029", "\x0b", "\x0c", "\x85", "\ufeff", "\u2060", "        "]
MARKS = [chr(c) for c in list(range(0x300, 0x370)) + list(range(0x483, 0x488)) + list(range(0x591, 0x5BE)) + list(range(0x64B, 0x660))
         + list(range(0x93A, 0x950)) + list(range(0x1AB0, 0x1ACF)) + list(range(0x1DC0, 0x1E00)) + list(range(0x20D0, 0x20F1))
         + [0x3099, 0x309A, 0x0DCF, 0x1133E, 0x11357, 0x114B0, 0x16FF0, 0x1E08F, 0x10EFD, 0x897, 0x0F71, 0x0F72, 0x0F74, 0x0F80]]
BASES = "aeiouAEIOUncsdgkKRÅåΩωΑαΙιУуИиकखगডயཀกあかがハばת가각ᄀᆨ𑄱𝅘𝅥Ḋ ſ"
BLOCKS = [(0x20, 0x7F), (0xA0, 0x250), (0x250, 0x300), (0x370, 0x600), (0x600, 0x900), (0x900, 0xE00), (0xE00, 0x1200), (0x1100, 0x1200),
          (0x1200, 0x1E00), (0x1E00, 0x2000), (0x2000, 0x2100), (0x2100, 0x2C00), (0x2C00, 0x3000), (0x3000, 0x3400), (0x3400, 0x4E00),
          (0x4E00, 0xA000), (0xA000, 0xAC00), (0xAC00, 0xD7B0), (0xF900, 0xFB00), (0xFB00, 0x10000), (0x10000, 0x11000),
          (0x11000, 0x12000), (0x12000, 0x1D000), (0x1D000, 0x1F000), (0x1F000, 0x20000), (0x20000, 0x32000), (0xE0000, 0xE0200), (0, 0x20),
          (0xA0, 0x110000)]


def random_char(rng, low, high):
    while True:
        c = rng.randrange(low, high)
        if not 0xD800 <= c <= 0xDFFF:
            return chr(c)


def words(rng):
    out = []
    for _ in range(rng.randint(1, 25)):
        word = rng.choice(ENGLISH)
        out.append(word if rng.random() < 0.9 else rng.choice((word.upper(), word.title())))
    return rng.choice(("", " ")) + " ".join(out) + rng.choice(("", ".", ",", "!\n", "?", ";", "...", " - ", "'", "\"", ":\n\n"))


def chinese(rng):
    out = "".join(rng.choice(CHINESE) for _ in range(rng.randint(1, 30)))
    return out + rng.choice(CHINESE_MARKS) if rng.random() < 0.8 else out


def japanese(rng):
    return "".join(rng.choice(KANA if rng.random() < 0.7 else CHINESE) for _ in range(rng.randint(1, 15)))


def korean(rng):
    return " ".join("".join(random_char(rng, 0xAC00, 0xD7A4) for _ in range(rng.randint(1, 5))) for _ in range(rng.randint(1, 6)))


def script(rng):
    low, high = rng.choice(BLOCKS)
    return "".join(random_char(rng, low, high) if rng.random() < 0.85 else " " for _ in range(rng.randint(1, 20)))


def number(rng):
    digits = rng.choice(("0123456789", "0123456789", "٠١٢٣٤٥٦٧٨٩", "०१२३४५६७८९", "０１２３４５６７８９", "²³¹½¾ⅣⅫ①⑳㊿一二三〇", "𑇡𝟎𝟡🄁𞣇\U00011DE0\U00016FF4"))
    out = "".join(rng.choice(digits) for _ in range(rng.randint(1, 12)))
    return rng.choice(("", " ", "-", "$", "v", "第")) + out + rng.choice(("", ".5", ",000", "%", "e-10", "年", "th", "'s"))


def marks(rng):
    out = ""
    for _ in range(rng.randint(1, 6)):
        out += rng.choice(BASES) + "".join(rng.choice(MARKS) for _ in range(rng.choice((0, 1, 1, 2, 3, 8))))
    return out


def spaces(rng):
    return "".join(rng.choice(SPACES) for _ in range(rng.randint(1, 6)))


def contraction(rng):
    apostrophe = rng.choice(("'", "'", "'", "’", "‘"))
    return rng.choice(("I", "we", "don", "", " ", "9", "你")) + apostrophe + rng.choice(("s", "S", "t", "re", "RE", "Ve", "ll", "lL", "m", "d", "D", "ſ", "x", "l", "r"))


def punctuation(rng):
    return "".join(rng.choice("!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~") for _ in range(rng.randint(1, 8))) + rng.choice(("", "a", "Z", "\n", "\r\n", "1"))


def long_run(rng):
    return rng.choice(("a", " ", "\n", "=", "-", "哈", "0", "ab", "\t", "é", "😀", "\u0301")) * rng.choice((2, 3, 5, 17, 64, 200))


def base64ish(rng):
    return "".join(rng.choice("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/") for _ in range(rng.randint(8, 80)))


KINDS = ((words, 30), (chinese, 25), (japanese, 3), (korean, 2), (script, 8), (number, 8), (marks, 4), (spaces, 6), (contraction, 4),
         (punctuation, 4), (long_run, 1), (base64ish, 2))


def segment(rng, extra=()):
    roll = rng.random()
    if roll < 0.08:
        return rng.choice(CODE)
    if roll < 0.13:
        return rng.choice(EMOJI)
    if extra and roll < 0.18:
        token = rng.choice(extra)
        return token if rng.random() < 0.8 else token[: rng.randint(1, len(token))]
    kinds, weights = zip(*KINDS)
    return rng.choices(kinds, weights)[0](rng)


def texts(chars, seed, extra=()):
    """Texts of very different lengths that have at least `chars` characters together."""
    rng = random.Random(seed)
    extra = sorted(extra)
    made = 0
    while made < chars:
        size = rng.choice((1, 3, 10, 40, 200, 1000, 5000))
        parts, length = [], 0
        while length < size:
            parts.append(segment(rng, extra))
            length += len(parts[-1])
        text = "".join(parts)
        made += len(text)
        yield text


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--chars", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    sys.stdout.buffer.write("".join(texts(options.chars, options.seed)).encode())


if __name__ == "__main__":
    main()

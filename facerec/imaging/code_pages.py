"""Names of which nobody says in which code page they are, as in a zip that a Windows tool made.

The format's own answer is code page 437; Windows writes that of its country instead: 850 in western
Europe, 932 (Shift-JIS) in Japan, and so on. What detects encodings of whole texts fails on a few
names. So this asks what names look like: letters, of one script a word, capitals where they belong.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise

STANDARD = "cp437"
"""What a zip's names are in where it says nothing (APPNOTE, appendix D)."""

_UTF8 = "utf-8"
_ENOUGH, _LONGEST = 200, 100
"""Names of an archive, and characters of each, that are looked at."""

# In each the first bytes of the common characters of two bytes, if it has any. Of code pages that
# fit alike the first is taken: the format's own, then what most people write.
_CODE_PAGES = {
    STANDARD: range(0),
    "cp850": range(0),
    "cp1252": range(0),
    "cp932": range(0x81, 0x98),
    "cp949": range(0xB0, 0xC9),
    "gbk": range(0xB0, 0xD8),
    "cp950": range(0xA4, 0xC7),
    "cp866": range(0),
    "cp1251": range(0),
    "cp852": range(0),
    "cp1250": range(0),
}

# Of what is in no name, and of what is in few: a rare character, two scripts in a word, a capital
# within one, accents side by side; of katakana of half width, which Japan's old systems write.
_NEVER, _SELDOM, _KANA = 2.0, 0.7, 0.5

_WORD = re.compile(r"[^\W\d_]+")
_CASED = ("Lu", "Ll")
_ICELANDIC = frozenset("ÞþÐð")
_JAPANESE = ("HIRAGANA", "KATAKANA", "KATAKANA-HIRAGANA")


def decode_names(names: Sequence[bytes]) -> tuple[list[str], str]:
    """An archive's names as text, and in what those are that are no UTF-8: UTF-8 if all are, else
    the code page in which they look most like names, all together."""
    texts = [_decode(name, _UTF8) for name in names]
    unknown = [name for name, text in zip(names, texts, strict=True) if text is None]
    if not unknown:
        return [text for text in texts if text is not None], _UTF8
    page = _page_of(unknown)
    decoded = []
    for name, text in zip(names, texts, strict=True):
        other = _decode(name, page)
        # What is valid UTF-8 may be that by chance, or another tool's name.
        if other is None or (text is not None and _cost(text, _UTF8) < _cost(other, page)):
            other = text
        decoded.append(other or "")
    return decoded, page


def _page_of(names: Sequence[bytes]) -> str:
    # Code page 437 has a character for every byte, so that one fits.
    fitting = [page for page in _CODE_PAGES if all(_decode(name, page) for name in names)]
    some = names[:: -(-len(names) // _ENOUGH)]
    return min(fitting, key=lambda page: sum(_cost(name.decode(page), page) for name in some))


def _decode(name: bytes, encoding: str) -> str | None:
    try:
        return name.decode(encoding)
    except UnicodeDecodeError:
        return None


def _cost(text: str, encoding: str) -> float:
    """How little a text looks like a name."""
    text = text[:_LONGEST]
    foreign = [character for character in text if not character.isascii()]
    words = [word for word in _WORD.findall(text) if not word.isascii()]
    cost = sum(_cost_of(character, encoding) for character in foreign)
    return cost + _SELDOM * sum(map(_oddities, words))


@lru_cache(1 << 14)
def _cost_of(character: str, encoding: str) -> float:
    category, stored = unicodedata.category(character), character.encode(encoding)
    if len(stored) > 1:
        common = encoding == _UTF8 or stored[0] in _CODE_PAGES[encoding]
        return 0.0 if common and category[0] in "LM" else _SELDOM
    if category in _CASED:
        return _SELDOM if character in _ICELANDIC else 0.0
    return _KANA if _script(character) == "HALFWIDTH" else _NEVER


def _oddities(word: str) -> int:
    scripts = [_script(character) for character in word]
    changes = sum(one != other for one, other in pairwise(scripts))
    accented = [
        script == "LATIN" and not character.isascii()
        for script, character in zip(scripts, word, strict=True)
    ]
    accents = sum(one and other for one, other in pairwise(accented))
    capitals = any(map(str.isupper, word[1:])) and any(map(str.islower, word))
    return changes + accents + capitals


@lru_cache(1 << 14)
def _script(character: str) -> str:
    """The first word of a character's name in Unicode; Japanese has three for one script."""
    script = unicodedata.name(character, "").partition(" ")[0]
    return "CJK" if script in _JAPANESE else script

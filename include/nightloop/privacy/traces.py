"""What a subject's identifiers look like in bytes, in the encodings and escapings that files of a state folder use."""

import html
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import quote

_LEAST_CHARACTERS, _LEAST_DIGITS = 4, 9  # a day in digits has eight
_END = ""
_WORD = rb"[0-9A-Za-z_]"
_WIDE = {"utf-16-le": rb"\0", "utf-32-le": rb"\0\0\0"}


@dataclass(frozen=True)
class Traces:
    """`whole` finds an identifier that stands alone, `anywhere` also within a longer word."""

    whole: "re.Pattern[bytes]"
    anywhere: "re.Pattern[bytes]"


def is_searchable(identifier: str) -> bool:
    """Tell whether an identifier is told apart in a text: a short word or number would be found everywhere.

    >>> [is_searchable(text) for text in ("A-1", "A-17", "20250105", "300400500")]
    [False, True, False, True]
    """
    return len(identifier) >= (_LEAST_DIGITS if identifier.isdecimal() else _LEAST_CHARACTERS)


def compile_traces(identifiers: Iterable[str]) -> Traces:
    r"""Return patterns that find any of the identifiers: plain, escaped for JSON, HTML or URLs, or as wide characters.

    Those that are not searchable are left out.

    >>> traces = compile_traces(["A-17", "ü@x.org"])
    >>> [bool(traces.whole.search(text)) for text in (b'"A-17"', b"A-170", rb"\u00fc@x.org")]
    [True, False, True]
    """
    values = {value for value in identifiers if is_searchable(value)}
    texts = {form.encode("utf-8", "surrogateescape") for value in values for form in _escaped(value)}
    words = {b"": _any_of(texts)}
    for encoding, zeros in _WIDE.items():
        words[zeros] = _any_of({value.encode(encoding, "surrogatepass") for value in values})
    alone = [rb"(?<!%b)(?:%b)(?!%b)" % (_WORD + zeros, word, _WORD + zeros) for zeros, word in words.items()]
    return Traces(re.compile(b"|".join(alone)), re.compile(b"|".join(words.values())))


def _escaped(value: str) -> set[str]:
    # escaped for JSON twice as well, for documents hold documents as texts
    in_json = json.dumps(value)[1:-1]
    return {value, in_json, json.dumps(in_json)[1:-1], html.escape(value), quote(value), quote(value, safe="")}


def _any_of(words: Iterable[bytes]) -> bytes:
    """Return a regular expression of a trie, whose cost does not grow with the number of words."""
    trie: dict[int | str, object] = {}
    for word in words:
        node = trie
        for byte in word:
            node = node.setdefault(byte, {})  # type: ignore[assignment]
        node[_END] = {}
    return _expression(trie) if trie else rb"(?!)"


def _expression(trie: dict[int | str, object]) -> bytes:
    """Spell a trie out, longest words first; a chain without branches is one literal."""
    branches = []
    for byte, below in sorted((pair for pair in trie.items() if pair[0] != _END), key=lambda pair: str(pair[0])):
        literal, node = [byte], below
        while len(node) == 1 and _END not in node:  # type: ignore[arg-type, operator]
            ((following, node),) = node.items()  # type: ignore[attr-defined]
            literal.append(following)
        rest = _expression(node) if node != {_END: {}} else b""  # type: ignore[arg-type]
        branches.append(re.escape(bytes(literal)) + rest)  # type: ignore[arg-type]
    group = rb"(?:" + b"|".join(branches) + rb")" if len(branches) != 1 or _END in trie else branches[0]
    return group + rb"?" if _END in trie else group

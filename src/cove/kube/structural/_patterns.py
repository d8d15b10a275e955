"""Go's regular expressions on Python's engine.

Patterns of schemas are RE2 syntax.  Translated is what the two write differently; what
Go refuses is refused in its words.

Source: https://github.com/google/re2/wiki/Syntax
"""

from __future__ import annotations

import re
import sys
import unicodedata
from functools import lru_cache

__all__ = ["PatternError", "compile_pattern", "search"]


class PatternError(ValueError):
    """A pattern that Go's regexp does not compile; the text is Go's."""

    def __init__(self, what: str, part: str) -> None:
        super().__init__(f"error parsing regexp: {what}: `{part}`")


_POSIX = {
    "alnum": "0-9A-Za-z",
    "alpha": "A-Za-z",
    "ascii": r"\x00-\x7F",
    "blank": r"\t ",
    "cntrl": r"\x00-\x1F\x7F",
    "digit": "0-9",
    "graph": "!-~",
    "lower": "a-z",
    "print": " -~",
    "punct": r"!-/:-@\[-`{-~",
    "space": r"\t\n\v\f\r ",
    "upper": "A-Z",
    "word": "0-9A-Za-z_",
    "xdigit": "0-9A-Fa-f",
}


@lru_cache(maxsize=32)
def _category(name: str) -> str | None:
    """The inside of a character class for a Unicode category, None for an unknown one."""
    if len(name) > 2 or name[:1] not in "LMNPSZC":
        return None
    spans: list[str] = []
    start = -1
    for code in range(sys.maxunicode + 2):
        inside = code <= sys.maxunicode and unicodedata.category(chr(code)).startswith(name)
        if inside and start < 0:
            start = code
        elif not inside and start >= 0:
            spans.append(f"\\U{start:08x}-\\U{code - 1:08x}")
            start = -1
    return "".join(spans) or None


class _Translator:
    """Python's way to write a pattern.

    Go's flags in mid-pattern hold until the end of the group that they are in, over its
    alternatives: ``a(?i)b|c`` is ``a(?i:b)|(?i:c)``, as Python has to be told.
    """

    def __init__(self, pattern: str) -> None:
        self.text = pattern
        self.at = 0
        self.out: list[str] = []
        # Of every open group, what opened the groups of flags within it.
        self.flags: list[list[str]] = [[]]
        # Whether lines end at line breaks, in every open group.
        self.lines: list[bool] = [False]
        # Where the last group of flags ended: there is nothing to repeat.
        self.flagged = -1

    def run(self) -> str:
        text = self.text
        while self.at < len(text):
            char = text[self.at]
            if char == "\\":
                self._escape(in_class=False)
            elif char == "[":
                self._class()
            elif char == "$":
                # Python's $ also matches before a final newline.
                self.out.append("$" if self.lines[-1] else r"(?!\n)\Z")
                self.at += 1
            elif char == "(":
                self._group()
            elif char == ")":
                if len(self.flags) == 1:
                    raise PatternError("unexpected )", text)
                self.out.append(")" * len(self.flags.pop()))
                self.lines.pop()
                self._plain()
            elif char == "|":
                self.out.append(")" * len(self.flags[-1]))
                self._plain()
                self.out += self.flags[-1]
            elif char in "*+?":
                self._repeat()
            else:
                self._plain()
        if len(self.flags) > 1:
            raise PatternError("missing closing )", text)
        return "".join(self.out) + ")" * len(self.flags[0])

    def _plain(self) -> None:
        self.out.append(self.text[self.at])
        self.at += 1

    def _group(self) -> None:
        rest = self.text[self.at :]
        if not rest.startswith("(?"):
            self._open()
            self._plain()
            return
        match = re.match(r"\(\?(?:P?<(\w+)>|([imsU]*)(?:-([imsU]+))?([:)]))", rest)
        if match is None:
            part = rest[:3] if len(rest) > 2 else rest
            raise PatternError("invalid or unsupported Perl syntax", part)
        self.at += match.end()
        if match[1]:
            self._open()
            self.out.append(f"(?P<{match[1]}>")
            return
        # Whether matches are greedy is all the same to whether there is one.
        on, off = ((flags or "").replace("U", "") for flags in (match[2], match[3]))
        opening = f"(?{on}-{off}:" if off else f"(?{on}:"
        if match[4] == ":":
            self._open()
        else:
            self.flags[-1].append(opening)
            self.flagged = self.at
        self.lines[-1] = ("m" in on or self.lines[-1]) and "m" not in off
        self.out.append(opening)

    def _open(self) -> None:
        self.flags.append([])
        self.lines.append(self.lines[-1])

    def _repeat(self) -> None:
        text = self.text
        before = text[: self.at]
        if (
            not before
            or self.at == self.flagged
            or (before[-1] in "(|" and not before.endswith(("\\(", "\\|")))
        ):
            raise PatternError("missing argument to repetition operator", text[self.at])
        following = text[self.at + 1 : self.at + 2]
        if following in ("*", "+") and following:
            raise PatternError("invalid nested repetition operator", text[self.at : self.at + 2])
        self._plain()

    def _escape(self, *, in_class: bool) -> None:
        text = self.text
        if self.at + 1 >= len(text):
            raise PatternError("trailing backslash at end of expression", "")
        char = text[self.at + 1]
        if char in "pP":
            match = re.match(r"\{(\^?)(\w+)\}|(\w)", text[self.at + 2 :])
            name = (match[2] or match[3]) if match else ""
            inside = _category(name) if name else None
            if match is None or inside is None:
                size = match.end() if match else 0
                raise PatternError(
                    "invalid character class range", text[self.at : self.at + 2 + size]
                )
            negated = (char == "P") != bool(match[1])
            self.out.append(inside if in_class and not negated else _bracket(inside, negated))
            self.at += 2 + match.end()
            return
        if char == "z":
            self.out.append(r"\Z")
            self.at += 2
            return
        if char == "Q":
            end = text.find("\\E", self.at)
            quoted = text[self.at + 2 : end if end >= 0 else None]
            self.out.append(re.escape(quoted))
            self.at = end + 2 if end >= 0 else len(text)
            return
        if char == "x" and text[self.at + 2 : self.at + 3] == "{":
            end = text.find("}", self.at)
            self.out.append(f"\\U{int(text[self.at + 3 : end], 16):08x}")
            self.at = end + 1
            return
        if char.isascii() and char.isalnum() and char not in "aftnrvxdDsSwWbBAC01234567":
            raise PatternError("invalid escape sequence", text[self.at : self.at + 2])
        self.out.append(text[self.at : self.at + 2])
        self.at += 2

    def _class(self) -> None:
        text = self.text
        start = self.at
        self.out.append("[")
        self.at += 1
        if text[self.at : self.at + 1] == "^":
            self._plain()
        first = True
        while True:
            if self.at >= len(text):
                raise PatternError("missing closing ]", text[start:])
            char = text[self.at]
            if char == "]" and not first:
                self._plain()
                return
            first = False
            if char == "\\":
                self._escape(in_class=True)
            elif text.startswith("[:", self.at):
                end = text.find(":]", self.at)
                name = text[self.at + 2 : end]
                if end < 0 or name not in _POSIX:
                    raise PatternError(
                        "invalid character class range", text[self.at : max(end, self.at) + 2]
                    )
                self.out.append(_POSIX[name])
                self.at = end + 2
            else:
                if char in "[]&|~":
                    self.out.append("\\")
                self._plain()


def _bracket(inside: str, negated: bool) -> str:
    return f"[^{inside}]" if negated else f"[{inside}]"


@lru_cache(maxsize=1024)
def compile_pattern(pattern: str) -> re.Pattern[str]:
    """A Go pattern as Python's; raises PatternError with Go's text."""
    try:
        return re.compile(_Translator(pattern).run(), re.ASCII)
    except re.error as error:
        raise PatternError(str(error.msg), pattern) from None


def search(pattern: str, text: str) -> bool:
    """Whether the pattern is found anywhere in the text."""
    return compile_pattern(pattern).search(text) is not None

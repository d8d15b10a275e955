"""What is wrong with a text that is no JSON, in the words of Go's encoding/json scanner.

A small scanner that is only run over texts another parser has refused.
"""

from __future__ import annotations

__all__ = ["syntax_error"]

_SPACE = " \t\r\n"
_END = "unexpected end of JSON input"
_HEX = "0123456789abcdefABCDEF"
_LITERALS = {"t": "true", "f": "false", "n": "null"}


class _SyntaxError(Exception):
    """Ends the scan."""


def syntax_error(text: str) -> str | None:
    """Go's error for the text; None if Go takes it."""
    try:
        scanner = _Scanner(text)
        scanner.value("looking for beginning of value")
        scanner.spaces()
        if scanner.at < len(text):
            raise scanner.invalid("after top-level value")
    except _SyntaxError as error:
        return str(error)
    return None


def _shown(char: str) -> str:
    """A character as Go quotes it in this error."""
    if char == "'":
        return "'\\''"
    if char == '"':
        return "'\"'"
    escapes = {"\n": "\\n", "\t": "\\t", "\r": "\\r", "\\": "\\\\", "\b": "\\b", "\f": "\\f"}
    if char in escapes:
        return f"'{escapes[char]}'"
    if ord(char) < 0x20:
        return f"'\\x{ord(char):02x}'"
    # Go looks at bytes: of a longer character it shows the first one.
    first = char.encode()[0]
    return f"'{chr(first)}'" if first != 0x7F else "'\\x7f'"


class _Scanner:
    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0

    def invalid(self, context: str) -> _SyntaxError:
        if self.at >= len(self.text):
            return _SyntaxError(_END)
        return _SyntaxError(f"invalid character {_shown(self.text[self.at])} {context}")

    def spaces(self) -> None:
        while self.at < len(self.text) and self.text[self.at] in _SPACE:
            self.at += 1

    def peek(self) -> str:
        return self.text[self.at] if self.at < len(self.text) else ""

    def value(self, context: str) -> None:
        self.spaces()
        char = self.peek()
        if char == "{":
            self.object()
        elif char == "[":
            self.array()
        elif char == '"':
            self.string()
        elif char and char in "-0123456789":
            self.number()
        elif char in _LITERALS and char:
            self.literal(_LITERALS[char])
        else:
            raise self.invalid(context)

    def object(self) -> None:
        self.at += 1
        self.spaces()
        if self.peek() == "}":
            self.at += 1
            return
        while True:
            self.spaces()
            if self.peek() != '"':
                raise self.invalid("looking for beginning of object key string")
            self.string()
            self.spaces()
            if self.peek() != ":":
                raise self.invalid("after object key")
            self.at += 1
            self.value("looking for beginning of value")
            self.spaces()
            char = self.peek()
            if char not in (",", "}"):
                raise self.invalid("after object key:value pair")
            self.at += 1
            if char == "}":
                return

    def array(self) -> None:
        self.at += 1
        self.spaces()
        if self.peek() == "]":
            self.at += 1
            return
        while True:
            self.value("looking for beginning of value")
            self.spaces()
            char = self.peek()
            if char not in (",", "]"):
                raise self.invalid("after array element")
            self.at += 1
            if char == "]":
                return

    def string(self) -> None:
        self.at += 1
        while True:
            char = self.peek()
            if not char or ord(char) < 0x20:
                raise self.invalid("in string literal")
            self.at += 1
            if char == '"':
                return
            if char == "\\":
                self.escape()

    def escape(self) -> None:
        char = self.peek()
        if char == "u":
            for _ in range(4):
                self.at += 1
                if self.peek() not in _HEX or not self.peek():
                    raise self.invalid("in \\u hexadecimal character escape")
        elif not char or char not in 'bfnrt\\/"':
            raise self.invalid("in string escape code")
        self.at += 1

    def number(self) -> None:
        if self.peek() == "-":
            self.at += 1
            if not self.digit():
                raise self.invalid("in numeric literal")
        if self.peek() == "0":
            self.at += 1
        else:
            self.digits()
        if self.peek() == ".":
            self.at += 1
            if not self.digit():
                raise self.invalid("after decimal point in numeric literal")
            self.digits()
        if self.peek() and self.peek() in "eE":
            self.at += 1
            if self.peek() and self.peek() in "+-":
                self.at += 1
            if not self.digit():
                raise self.invalid("in exponent of numeric literal")
            self.digits()

    def digit(self) -> bool:
        return bool(self.peek()) and self.peek() in "0123456789"

    def digits(self) -> None:
        while self.digit():
            self.at += 1

    def literal(self, word: str) -> None:
        for index, expected in enumerate(word):
            if self.peek() != expected:
                raise self.invalid(f"in literal {word} (expecting {_shown(word[index])})")
            self.at += 1

"""What Go's encoding/json says about a text that is no JSON object."""

from __future__ import annotations

__all__ = ["object_problem"]

_LITERALS = {"t": "true", "f": "false", "n": "null"}
_SPACE = " \t\r\n"


class _SyntaxError(ValueError):
    pass


def _quoted(char: str) -> str:
    if char == "'":
        return "'\\''"
    if char == '"':
        return "'\"'"
    return f"'{char}'"


class _Scanner:
    """A reader that stops where Go's scanner would."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0

    def _fail(self, where: str) -> _SyntaxError:
        if self.at >= len(self.text):
            return _SyntaxError("unexpected end of JSON input")
        return _SyntaxError(f"invalid character {_quoted(self.text[self.at])} {where}")

    def _peek(self) -> str:
        return self.text[self.at] if self.at < len(self.text) else ""

    def _skip(self) -> None:
        while self.at < len(self.text) and self.text[self.at] in _SPACE:
            self.at += 1

    def document(self) -> str:
        """The first character of the one value in the text."""
        self._skip()
        first = self._peek()
        self._value()
        self._skip()
        if self.at < len(self.text):
            raise self._fail("after top-level value")
        return first

    def _value(self) -> None:
        self._skip()
        char = self._peek()
        if char == "{":
            self._object()
        elif char == "[":
            self._array()
        elif char == '"':
            self._string()
        elif char in _LITERALS and char:
            self._literal(_LITERALS[char])
        elif char == "-" or char.isdigit():
            self._number()
        else:
            raise self._fail("looking for beginning of value")

    def _literal(self, word: str) -> None:
        for i, char in enumerate(word):
            if self._peek() != char:
                raise self._fail(f"in literal {word} (expecting {_quoted(word[i])})")
            self.at += 1

    def _string(self) -> None:
        self.at += 1
        while (char := self._peek()) != '"':
            if not char:
                raise self._fail("")
            if char < " ":
                raise self._fail("in string literal")
            self.at += 1
            if char == "\\":
                if self._peek() not in tuple('bfnrt\\/"u'):
                    raise self._fail("in string escape code")
                self.at += 1
        self.at += 1

    def _number(self) -> None:
        if self._peek() == "-":
            self.at += 1
        if not self._peek().isdigit():
            raise self._fail("in numeric literal")
        while self._peek() and self._peek() in "0123456789.eE+-":
            self.at += 1

    def _object(self) -> None:
        self.at += 1
        self._skip()
        if self._peek() == "}":
            self.at += 1
            return
        while True:
            self._skip()
            if self._peek() != '"':
                raise self._fail("looking for beginning of object key string")
            self._string()
            self._skip()
            if self._peek() != ":":
                raise self._fail("after object key")
            self.at += 1
            self._value()
            self._skip()
            if self._peek() == "}":
                self.at += 1
                return
            if self._peek() != ",":
                raise self._fail("after object key:value pair")
            self.at += 1

    def _array(self) -> None:
        self.at += 1
        self._skip()
        if self._peek() == "]":
            self.at += 1
            return
        while True:
            self._value()
            self._skip()
            if self._peek() == "]":
                self.at += 1
                return
            if self._peek() != ",":
                raise self._fail("after array element")
            self.at += 1


def object_problem(data: bytes) -> str:
    """Why ``json.Unmarshal`` into a map fails; "" if it does not."""
    try:
        first = _Scanner(data.decode("utf-8", "replace")).document()
    except _SyntaxError as e:
        return str(e)
    if first in ("{", "n"):
        return ""
    kind = {"[": "array", '"': "string", "t": "bool", "f": "bool"}.get(first, "number")
    return f"json: cannot unmarshal {kind} into Go value of type map[string]interface {{}}"

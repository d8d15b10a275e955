"""What names, labels, annotations and keys may look like, in Kubernetes' words.

Every ``is_x`` takes a value and returns what is wrong with it, one text per fault
and an empty list for none, as ``k8s.io/apimachinery/pkg/util/validation`` does;
the caller puts the texts behind a field's path.  Lengths are in UTF-8 bytes.

Source: https://kubernetes.io/docs/concepts/overview/working-with-objects/names/
"""

from __future__ import annotations

import re
from functools import lru_cache
from random import Random

__all__ = [
    "empty_error",
    "generate_name",
    "inclusive_range_error",
    "is_annotation_key",
    "is_c_identifier",
    "is_config_map_key",
    "is_decimal_integer",
    "is_dns1035_label",
    "is_dns1123_label",
    "is_dns1123_subdomain",
    "is_dns1123_subdomain_with_underscore",
    "is_env_var_name",
    "is_fully_qualified_domain_name",
    "is_fully_qualified_name",
    "is_http_header_name",
    "is_http_path",
    "is_in_range",
    "is_label_key",
    "is_label_value",
    "is_path_segment_name",
    "is_path_segment_prefix",
    "is_percent",
    "is_port_name",
    "is_port_number",
    "is_qualified_name",
    "is_relaxed_env_var_name",
    "is_wildcard_dns1123_subdomain",
    "mask_trailing_dash",
    "max_len_error",
    "max_len_error_chars",
    "regex_error",
]

_LABEL = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_SUBDOMAIN = _LABEL + r"(\." + _LABEL + ")*"
_LABEL_UNDERSCORE = "_?[a-z0-9]([-_a-z0-9]*[a-z0-9])?"
_SUBDOMAIN_UNDERSCORE = _LABEL_UNDERSCORE + r"(\." + _LABEL_UNDERSCORE + ")*"
_LABEL_1035 = "[a-z]([-a-z0-9]*[a-z0-9])?"
_WILDCARD = r"\*\." + _SUBDOMAIN
_KEY = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]"
_VALUE = "(" + _KEY + ")?"
_C_IDENTIFIER = "[A-Za-z_][A-Za-z0-9_]*"
_ENV = "[-._a-zA-Z][-._a-zA-Z0-9]*"
_CONFIG_KEY = "[-._a-zA-Z0-9]+"
_HEADER = "[-A-Za-z0-9]+"
_PERCENT = "[0-9]+%"
_HTTP_PATH = r"[A-Za-z0-9/\-._~%!$&'()*+,;=:]+"

_label = re.compile(_LABEL).fullmatch
_subdomain = re.compile(_SUBDOMAIN).fullmatch
_subdomain_underscore = re.compile(_SUBDOMAIN_UNDERSCORE).fullmatch
_label_1035 = re.compile(_LABEL_1035).fullmatch
_wildcard = re.compile(_WILDCARD).fullmatch
_key = re.compile(_KEY).fullmatch
_value = re.compile(_VALUE).fullmatch
_c_identifier = re.compile(_C_IDENTIFIER).fullmatch
_env = re.compile(_ENV).fullmatch
_config_key = re.compile(_CONFIG_KEY).fullmatch
_header = re.compile(_HEADER).fullmatch
_percent = re.compile(_PERCENT).fullmatch
_http_path = re.compile(_HTTP_PATH).fullmatch
_decimal = re.compile(r"0|-?[1-9][0-9]*", re.ASCII).fullmatch
_port_chars = re.compile("[-a-z0-9]+").fullmatch
_letter = re.compile("[a-z]").search

_LABEL_TEXT = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', "
    "and must start and end with an alphanumeric character"
)
_SUBDOMAIN_TEXT = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', "
    "and must start and end with an alphanumeric character"
)
_SUBDOMAIN_UNDERSCORE_TEXT = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '_', '-' or '.', "
    "and must start and end with an alphanumeric character"
)
_LABEL_1035_TEXT = (
    "a DNS-1035 label must consist of lower case alphanumeric characters or '-', "
    "start with an alphabetic character, and end with an alphanumeric character"
)
_WILDCARD_TEXT = (
    "a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain, "
    "which must consist of lower case alphanumeric characters, '-' or '.' and end with an alphanumeric character"
)
_KEY_TEXT = (
    "must consist of alphanumeric characters, '-', '_' or '.', "
    "and must start and end with an alphanumeric character"
)
_VALUE_TEXT = (
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', "
    "and must start and end with an alphanumeric character"
)

# No vowels, no look-alikes: generated names spell no words.
_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"
_SUFFIX = 5
_PAIRS = [first + second for second in _ALPHABET for first in _ALPHABET]
_MAX_GENERATED = 63


def _length(value: str) -> int:
    return len(value) if value.isascii() else len(value.encode())


def max_len_error(length: int) -> str:
    """The text for a value above ``length`` bytes, as label keys and values tell it."""
    return f"must be no more than {length} bytes"


def max_len_error_chars(length: int) -> str:
    """The same where upstream says characters (ports, config keys, names checked by older code)."""
    return f"must be no more than {length} characters"


def empty_error() -> str:
    """The text for an empty value."""
    return "must be non-empty"


def inclusive_range_error(low: int, high: int) -> str:
    """The text for a number out of a range, both ends allowed."""
    return f"must be between {low} and {high}, inclusive"


def regex_error(message: str, pattern: str, *examples: str) -> str:
    """``message`` with examples and the pattern it was judged by."""
    if not examples:
        return f"{message} (regex used for validation is '{pattern}')"
    shown = " or ".join(f"'{e}', " for e in examples)
    return f"{message} (e.g. {shown}regex used for validation is '{pattern}')"


def is_dns1123_label(value: str) -> list[str]:
    """A name of up to 63 characters without dots: namespaces, containers, most volumes."""
    if len(value) <= 63 and _label(value):
        return []
    errors = [max_len_error_chars(63)] if _length(value) > 63 else []
    if not _label(value):
        if _subdomain(value):
            errors.append("must not contain dots")
        else:
            errors.append(regex_error(_LABEL_TEXT, _LABEL, "my-name", "123-abc"))
    return errors


def is_dns1123_subdomain(value: str) -> list[str]:
    """A name of up to 253 characters, dots allowed: most objects."""
    if len(value) <= 253 and _subdomain(value):
        return []
    errors = [max_len_error_chars(253)] if _length(value) > 253 else []
    if not _subdomain(value):
        errors.append(regex_error(_SUBDOMAIN_TEXT, _SUBDOMAIN, "example.com"))
    return errors


def is_dns1123_subdomain_with_underscore(value: str) -> list[str]:
    """A subdomain whose labels may hold underscores (search domains)."""
    errors = [max_len_error_chars(253)] if _length(value) > 253 else []
    if not _subdomain_underscore(value):
        errors.append(regex_error(_SUBDOMAIN_UNDERSCORE_TEXT, _SUBDOMAIN_UNDERSCORE, "example.com"))
    return errors


def is_dns1035_label(value: str) -> list[str]:
    """A label that starts with a letter: Services."""
    errors = [max_len_error_chars(63)] if _length(value) > 63 else []
    if not _label_1035(value):
        errors.append(regex_error(_LABEL_1035_TEXT, _LABEL_1035, "my-name", "abc-123"))
    return errors


def is_wildcard_dns1123_subdomain(value: str) -> list[str]:
    """``*.`` and a subdomain: hosts of Ingresses."""
    errors = [max_len_error_chars(253)] if _length(value) > 253 else []
    if not _wildcard(value):
        errors.append(regex_error(_WILDCARD_TEXT, _WILDCARD, "*.example.com"))
    return errors


def _qualified(value: str) -> list[str]:
    errors: list[str] = []
    parts = value.split("/")
    if len(parts) > 2:
        text = regex_error(_KEY_TEXT, _KEY, "MyName", "my.name", "123-abc")
        return [
            (
                f"a valid label key {text} with an optional DNS subdomain prefix and '/' "
                "(e.g. 'example.com/MyName')"
            )
        ]
    name = parts[-1]
    if len(parts) == 2:
        if not parts[0]:
            errors.append("prefix part must be non-empty")
        else:
            # The prefix is judged by newer code than names are: it counts bytes.
            if _length(parts[0]) > 253:
                errors.append(f"prefix part {max_len_error(253)}")
            if not _subdomain(parts[0]):
                errors.append(
                    "prefix part " + regex_error(_SUBDOMAIN_TEXT, _SUBDOMAIN, "example.com")
                )
    if not name:
        errors.append("name part must be non-empty")
    elif _length(name) > 63:
        errors.append(f"name part {max_len_error(63)}")
    if not _key(name):
        errors.append("name part " + regex_error(_KEY_TEXT, _KEY, "MyName", "my.name", "123-abc"))
    return errors


# Keys come from a small vocabulary and are checked at every write.
_qualified_once = lru_cache(maxsize=2048)(lambda value: tuple(_qualified(value)))


def is_label_key(value: str) -> list[str]:
    """A label's key: ``name`` or ``prefix.example.com/name``."""
    return list(_qualified_once(value))


def is_qualified_name(value: str) -> list[str]:
    """The same as a label's key; finalizers, resources, conditions."""
    return list(_qualified_once(value))


def is_annotation_key(value: str) -> list[str]:
    """An annotation's key: a label's key in any case."""
    return list(_qualified_once(value.lower()))


def is_label_value(value: str) -> list[str]:
    """A label's value: up to 63 characters, or empty."""
    if len(value) <= 63 and _value(value):
        return []
    errors = [max_len_error(63)] if _length(value) > 63 else []
    if not _value(value):
        errors.append(regex_error(_VALUE_TEXT, _VALUE, "MyValue", "my_value", "12345"))
    return errors


def is_fully_qualified_name(value: str) -> list[str]:
    """A subdomain of at least three labels (signer domains); the empty value is the caller's."""
    errors = is_dns1123_subdomain(value)
    if errors:
        return [",".join(errors)]
    if value.count(".") < 2:
        return ["should be a domain with at least three segments separated by dots"]
    return []


def is_fully_qualified_domain_name(value: str) -> list[str]:
    """A domain of at least two labels, each up to 63 characters; a last dot is allowed."""
    value = value.removesuffix(".")
    errors = is_dns1123_subdomain(value)
    if errors:
        return [",".join(errors)]
    labels = value.split(".")
    if len(labels) < 2:
        return ["should be a domain with at least two segments separated by dots"]
    return [",".join(faults) for faults in map(is_dns1123_label, labels) if faults]


def is_c_identifier(value: str) -> list[str]:
    """An identifier of C."""
    if _c_identifier(value):
        return []
    text = (
        "a valid C identifier must start with alphabetic character or '_', "
        "followed by a string of alphanumeric characters or '_'"
    )
    return [regex_error(text, _C_IDENTIFIER, "my_name", "MY_NAME", "MyName")]


def is_port_number(value: int) -> list[str]:
    """1 to 65535."""
    return is_in_range(value, 1, 65535)


def is_in_range(value: int, low: int, high: int) -> list[str]:
    """``low`` to ``high``, both included."""
    return [] if low <= value <= high else [inclusive_range_error(low, high)]


def is_port_name(value: str) -> list[str]:
    """An IANA service name: up to 15 of a-z, 0-9 and single inner hyphens, with a letter."""
    errors = []
    if _length(value) > 15:
        errors.append(max_len_error_chars(15))
    if not _port_chars(value):
        errors.append("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)")
    if not _letter(value):
        errors.append("must contain at least one letter (a-z)")
    if "--" in value:
        errors.append("must not contain consecutive hyphens")
    if value and (value[0] == "-" or value[-1] == "-"):
        errors.append("must not begin or end with a hyphen")
    return errors


def is_percent(value: str) -> list[str]:
    """``25%``."""
    if _percent(value):
        return []
    text = "a valid percent string must be a numeric string followed by an ending '%'"
    return [regex_error(text, _PERCENT, "1%", "93%")]


def is_http_header_name(value: str) -> list[str]:
    """A header's name."""
    if _header(value):
        return []
    text = "a valid HTTP header must consist of alphanumeric characters or '-'"
    return [regex_error(text, _HEADER, "X-Header-Name")]


def is_http_path(value: str) -> list[str]:
    """The path of a URL, as domain-prefixed paths are judged."""
    return [] if _http_path(value) else [regex_error("Invalid path", _HTTP_PATH)]


def _parent_directory(value: str) -> list[str]:
    if value == ".":
        return ["must not be '.'"]
    if value == "..":
        return ["must not be '..'"]
    if value.startswith(".."):
        return ["must not start with '..'"]
    return []


def is_env_var_name(value: str) -> list[str]:
    """An environment variable's name, by the strict rule."""
    errors = []
    if not _env(value):
        text = (
            "a valid environment variable name must consist of alphabetic characters, digits, "
            "'_', '-', or '.', and must not start with a digit"
        )
        errors.append(regex_error(text, _ENV, "my.env-name", "MY_ENV.NAME", "MyEnvName1"))
    return errors + _parent_directory(value)


def is_relaxed_env_var_name(value: str) -> list[str]:
    """An environment variable's name: anything printable in ASCII but ``=``."""
    if not value:
        return ["environment variable name must be non-empty"]
    if any(not " " <= c <= "~" or c == "=" for c in value):
        return [
            "a valid environment variable name must consist only of printable ASCII characters other than '='"
        ]
    return []


def is_config_map_key(value: str) -> list[str]:
    """A key of a ConfigMap's or Secret's data: a file's name."""
    if len(value) <= 253 and _config_key(value) and value[0] != ".":
        return []
    errors = [max_len_error_chars(253)] if _length(value) > 253 else []
    if not _config_key(value):
        text = "a valid config key must consist of alphanumeric characters, '-', '_' or '.'"
        errors.append(regex_error(text, _CONFIG_KEY, "key.name", "KEY_NAME", "key-name"))
    return errors + _parent_directory(value)


def is_path_segment_name(value: str) -> list[str]:
    """A name that fits into a URL: Roles and what else has no stricter rule; empty is allowed."""
    if value in (".", ".."):
        return [f"may not be '{value}'"]
    return is_path_segment_prefix(value)


def is_path_segment_prefix(value: str) -> list[str]:
    """The start of such a name."""
    return [f"may not contain '{c}'" for c in "/%" if c in value]


def is_decimal_integer(value: str) -> list[str]:
    """A whole number without sign, zeros in front, or other bases."""
    if not value:
        return [empty_error()]
    if _decimal(value):
        return []
    return ["must be a valid decimal integer in canonical form"]


def mask_trailing_dash(name: str) -> str:
    """A generateName as it is judged: its last dash stands for what will follow."""
    return name[:-2] + "a" if len(name) > 1 and name.endswith("-") else name


def generate_name(prefix: str, rng: Random) -> str:
    """``prefix`` (cut to 58 characters) and five random ones.

    Source: https://kubernetes.io/docs/reference/using-api/api-concepts/#generated-values
    """
    # One draw for all five: the system's source is asked once.
    number, first = divmod(rng.getrandbits(64), len(_PAIRS))
    number, second = divmod(number, len(_PAIRS))
    last = _ALPHABET[number % len(_ALPHABET)]
    return f"{prefix[: _MAX_GENERATED - _SUFFIX]}{_PAIRS[first]}{_PAIRS[second]}{last}"

"""Quantities: exact values, one text each."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cove.kube import quantity

SUFFIXES = {"n": Fraction(1, 10**9), "u": Fraction(1, 10**6), "m": Fraction(1, 1000), "": Fraction(1)} | {
    s: Fraction(10 ** (3 * (i + 1))) for i, s in enumerate("kMGT")
} | {s + "i": Fraction(1024 ** (i + 1)) for i, s in enumerate("KMG")}  # fmt: skip
NUMBERS = st.tuples(st.integers(-(10**6), 10**6), st.sampled_from(sorted(SUFFIXES)))


@given(NUMBERS, NUMBERS)
def test_order_and_sum_are_those_of_fractions(a: tuple[int, str], b: tuple[int, str]) -> None:
    left, right = f"{a[0]}{a[1]}", f"{b[0]}{b[1]}"
    x, y = a[0] * SUFFIXES[a[1]], b[0] * SUFFIXES[b[1]]

    assert quantity.compare(left, right) == (x > y) - (x < y)
    assert quantity.parse(quantity.add(left, right)).fraction == x + y


@given(NUMBERS, st.text("0123456789", max_size=9))
def test_the_canonical_text_has_the_same_value_and_is_its_own(
    a: tuple[int, str], part: str
) -> None:
    text = f"{a[0]}.{part}{a[1]}" if part else f"{a[0]}{a[1]}"
    canonical = quantity.canonical(text)

    assert quantity.canonical(canonical) == canonical
    assert quantity.compare(canonical, text) == 0


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("1.5", "1500m"),
        ("1000m", "1"),
        ("100m", "100m"),
        ("1024Mi", "1Gi"),
        ("1536Mi", "1536Mi"),
        ("1.5Gi", "1536Mi"),
        ("512", "512"),
        ("1023Ki", "1023Ki"),
        ("0.5Ki", "512"),
        ("1e3", "1e3"),
        ("1000e0", "1e3"),
        ("12E", "12E"),
        ("0.1n", "1n"),
        ("-0.1n", "-1n"),
        ("0Mi", "0"),
        ("1000", "1k"),
        ("1048576Ki", "1Gi"),
        ("0.0001Ki", "102400u"),
        (2, "2"),
        (0.5, "500m"),
        ("8Ei", "9223372036854775807"),
    ],
)
def test_canonical(text: str | float, canonical: str) -> None:
    assert quantity.canonical(text) == canonical


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("", "quantities must match the regular expression"),
        ("abc", "quantities must match the regular expression"),
        ("1x", "quantities must match the regular expression"),
        ("1mm", "unable to parse quantity's suffix"),
        ("1e", "unable to parse quantity's suffix"),
    ],
)
def test_what_is_no_quantity(text: str, error: str) -> None:
    with pytest.raises(quantity.QuantityError, match=error):
        quantity.parse(text)


def test_whole_units_are_rounded_up() -> None:
    assert quantity.parse("1.2").value == 2
    assert quantity.parse("100u").milli == 1
    assert quantity.parse("-1.2").value == -2

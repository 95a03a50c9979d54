"""Times as people type them."""

from fractions import Fraction

import pytest

from vtok.errors import ConfigError
from vtok.video.times import exact_seconds, parse_range, parse_seconds


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0),
        ("90.5", Fraction(181, 2)),
        (".25", Fraction(1, 4)),
        ("1:30", 90),
        ("01:02:03.001", Fraction(3723001, 1000)),
        ("100:00:00", 360000),
    ],
)
def test_times_are_exact(text, seconds):
    assert parse_seconds(text) == seconds


@pytest.mark.parametrize("text", ["", "-1", "1e3", "nan", "1:2:3:4", "1:", "5s", "1.", "9" * 40, "١"])
def test_what_is_no_time_is_refused(text):
    with pytest.raises(ConfigError, match="no time"):
        parse_seconds(text)


def test_ranges():
    assert parse_range(None, None, None) == (0, None)
    assert parse_range("1", "2.5", None) == (1, Fraction(5, 2))
    assert parse_range("0:10", None, "5") == (10, 15)
    for wrong in [("1", "1", None), ("2", "1", None), ("1", "2", "1"), (None, None, "0")]:
        with pytest.raises(ConfigError):
            parse_range(*wrong)


def test_a_float_is_the_number_that_was_written():
    assert [exact_seconds(x) for x in (1.28, 0.1, 3, Fraction(1, 3))] == [
        Fraction(32, 25),
        Fraction(1, 10),
        3,
        Fraction(1, 3),
    ]

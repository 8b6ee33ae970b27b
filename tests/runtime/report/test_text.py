import pytest

from nmbrl.runtime.report.document import Quantity
from nmbrl.runtime.report.text import interval, number, scaled, text


@pytest.mark.parametrize(
    ("value", "written"),
    [(0, "0"), (0.00012345, "0.000123"), (1.5, "1.5"), (99.94, "99.9"), (51785.0, "51,785"), (2e-7, "2e-07")],
)
def test_numbers_have_three_digits_and_whole_ones_all(value, written):
    assert number(value) == written


@pytest.mark.parametrize(
    ("value", "written"), [(1.5e-12, "1.5 pJ"), (48e-9, "48 nJ"), (31.46e-6, "31.5 µJ"), (0.0025, "2.5 mJ"), (2, "2 J")]
)
def test_joules_take_the_prefix_that_suits_them(value, written):
    assert scaled(value, "J") == written


def test_a_range_has_the_unit_of_its_value():
    energy = Quantity(value=2e-6, unit="J", source="modelled", low=0.5e-6, high=2e-6)
    assert (text(energy), interval(energy)) == ("2 µJ", "0.5 µJ to 2 µJ")


@pytest.mark.parametrize(
    ("quantity", "written"),
    [
        (Quantity(value=61234, unit="B", source="measured"), "61.2 kB"),
        (Quantity(value=98.76, unit="%", source="measured"), "98.8 %"),
        (Quantity(value=853.21, unit="return", source="measured"), "853.2"),
        (Quantity(value=0.1234, unit="s", source="measured"), "123 ms"),
        (Quantity(value=20000, unit="", source="counted"), "20,000"),
        (None, "–"),
    ],
)
def test_units(quantity, written):
    assert text(quantity) == written
    assert interval(quantity) == ""

"""A report as text: numbers with their units, as the page, the Markdown and the terminal show them."""

from nmbrl.runtime.report.document import Quantity

ABSENT = "–"
PREFIXES = ((1.0, ""), (1e-3, "m"), (1e-6, "µ"), (1e-9, "n"), (1e-12, "p"))
# Units that take a prefix.
SCALED = ("J", "s")


def number(value: float, digits: int = 3) -> str:
    """Write a number with `digits` significant digits, whole ones in full, thousands apart."""
    if value == 0:
        return "0"
    if abs(value) >= 10 ** (digits - 1):
        return f"{value:,.0f}"
    return f"{value:.{digits}g}" if abs(value) >= 1e-4 else f"{value:.0e}"


def scaled(value: float, unit: str, reference: float | None = None) -> str:
    """Write a value with the prefix that suits it, or that suits `reference`."""
    scale, prefix = next((p for p in PREFIXES if abs(reference or value) >= p[0]), PREFIXES[-1])
    return f"{number(value / scale)} {prefix}{unit}"


def text(quantity: Quantity | None) -> str:
    """Write a quantity with its unit, without its range."""
    if quantity is None:
        return ABSENT
    return _write(quantity.value, quantity.unit, quantity.value)


def interval(quantity: Quantity | None) -> str:
    """Write a quantity's range in the unit that `text` gives it; nothing where it has none."""
    if quantity is None or quantity.low is None or quantity.high is None:
        return ""
    low, high = (_write(bound, quantity.unit, quantity.value) for bound in (quantity.low, quantity.high))
    return f"{low} to {high}" if low != high else ""


def _write(value: float, unit: str, reference: float) -> str:
    if unit in SCALED:
        return scaled(value, unit, reference)
    if unit == "B":
        return f"{value / 1000:,.1f} kB"
    if unit == "%":
        return f"{value:.1f} %"
    if unit == "return":
        return f"{value:.1f}"
    return f"{number(value)} {unit}".strip()

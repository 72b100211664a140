"""Numbers as a person reads them at a glance."""

from __future__ import annotations

_LARGEST = 10**18
"""A record may hold any number: what is larger is shown as this."""


def within(value: float) -> float:
    """The value, or the nearest one from 0 to a billion billions; 0 where there is no number."""
    return min(max(0, value), _LARGEST)  # in this order: `max(0, nan)` is 0


def count(number: int) -> str:
    """`84`, `1.2k`, `41k`, `1.3M`."""
    if number < 1000:
        return str(max(number, -_LARGEST))
    value = float(min(number, _LARGEST))
    for unit in ("k", "M", "G"):
        value /= 1000
        if value < 9.95:
            return f"{value:.1f}{unit}"
        if value < 999.5 or unit == "G":
            return f"{value:.0f}{unit}"
    raise AssertionError("unreachable: the last unit always fits")


def seconds(value: float) -> str:
    """`0.8s`, `12s`, `1:23`, `1:02:05`."""
    if value < 9.95:
        return f"{within(value):.1f}s"
    if value < 59.5:
        return f"{value:.0f}s"
    return clock(value)


def clock(value: float) -> str:
    """`0:07`, `1:23`, `1:02:05`."""
    whole = int(within(value))
    hours, minutes = divmod(whole // 60, 60)
    return f"{hours}:{minutes:02}:{whole % 60:02}" if hours else f"{minutes}:{whole % 60:02}"


def waiting(value: float) -> str:
    """`0.5 s`, `30 s`, `2 min 30 s`, `1 h 5 min`."""
    if value < 60:
        return f"{value:.1f} s" if value < 9.95 and value != int(value) else f"{value:.0f} s"
    minutes, rest = divmod(round(value), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if minutes else f"{hours} h"


def dollars(value: float, of: float = 0.0) -> str:
    """`$0`, `$0.0004`, `$0.009`, `$0.07`, `$12.40`; a part is rounded as the sum that it is a part `of`."""
    if value == 0:
        return "$0"
    if max(value, of) < 0.01:
        return f"${value:.4f}".rstrip("0") if value >= 0.00005 else "<$0.0001"
    return f"${within(value):.2f}" if not value < 0.005 else "<$0.01"


def plural(number: int, one: str, many: str | None = None) -> str:
    """`1 call`, `3 calls`."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"

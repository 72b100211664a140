"""Questions without documents that Python can compute: sequences, primes, factorials, divisors, sums, expressions."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

MOST = 10_000
"""The longest sequence, and the largest number whose factorial is computed."""
_NUMBERS = (
    *("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve", "thirteen"),
    *("fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen", "twenty"),
)
_EXPRESSION = re.compile(r"(?<![\w.])[-(]*\d[\d.]*(?:\s*(?:\*\*|//|[-+*/%])\s*[-(]*\d[\d.]*\)*)+")


@dataclass(frozen=True)
class Computation:
    """Code that prints and keeps `result`, and what the result is, in words."""

    label: str
    code: str


_FIBONACCI = "sequence = [{first}]\nwhile len(sequence) < {n}:\n    sequence.append(sequence[-1] + sequence[-2])\n"
_IS_PRIME = "def is_prime(n):\n    return n > 1 and all(n % divisor for divisor in range(2, int(n**0.5) + 1))\n\n"
_FACTORS = (
    "rest, result, divisor = {n}, [], 2\nwhile divisor * divisor <= rest:\n    while rest % divisor == 0:\n"
    "        result.append(divisor)\n        rest //= divisor\n    divisor += 1\n"
    "result += [rest] if rest > 1 else []"
)
_TERMS = {
    "square": "n**2",
    "cube": "n**3",
    "even": "2 * n",
    "odd": "2 * n - 1",
    "power": "2**(n - 1)",
    "triang": "n * (n + 1) // 2",
    "natural": "n",
    "factorial": "math.factorial(n)",
}
"""The n-th member of a sequence, by the beginning of its name."""


def _sequence(name: str, count: int) -> str | None:
    if name.startswith(("fibonacci", "lucas")):
        start = "2, 1" if name.startswith("lucas") else "0, 1"
        return _FIBONACCI.format(first=start, n=count) + f"result = sequence[:{count}]"
    if name.startswith("prime"):
        return (
            f"{_IS_PRIME}result, number = [], 2\nwhile len(result) < {count}:\n    if is_prime(number):\n"
            "        result.append(number)\n    number += 1"
        )
    term = next((term for begin, term in _TERMS.items() if name.startswith(begin)), None)
    begin = "import math\n\n" if term and "math." in term else ""
    return f"{begin}result = [{term} for n in range(1, {count + 1})]" if term else None


def _title(name: str) -> str:
    return name.capitalize() if name in {"fibonacci", "lucas"} else name.removesuffix("s")


def _first(met: re.Match[str]) -> Computation | None:
    count = int(met[1])
    code = _sequence(met[2], count) if count <= MOST else None
    return Computation(f"The first {count} {_title(met[2])} numbers", code) if code else None


def _nth(met: re.Match[str]) -> Computation | None:
    count = int(met[1])
    code = _sequence(met[2], count) if 0 < count <= MOST else None
    return Computation(f"{_title(met[2])} number {count}", f"{code}\nresult = result[-1]") if code else None


def _primes_below(met: re.Match[str]) -> Computation:
    end = int(met[2]) + (met[1] in {"up to", "until"})
    code = f"{_IS_PRIME}result = [number for number in range(2, {end}) if is_prime(number)]"
    return Computation(f"The primes {met[1]} {met[2]}", code)


def _sum_of_range(met: re.Match[str]) -> Computation:
    return Computation(
        f"The sum of the numbers from {met[1]} to {met[2]}", f"result = sum(range({met[1]}, {met[2]} + 1))"
    )


def _of_two(met: re.Match[str]) -> Computation:
    function = "gcd" if met[1] in {"gcd", "greatest common divisor"} else "lcm"
    return Computation(
        f"The {met[1]} of {met[2]} and {met[3]}", f"import math\n\nresult = math.{function}({met[2]}, {met[3]})"
    )


def _factorial(met: re.Match[str]) -> Computation | None:
    number = next(group for group in met.groups() if group)
    if int(number) > MOST:
        return None
    return Computation(f"{number}!", f"import math\n\nresult = math.factorial({number})")


def _expression(met: re.Match[str]) -> Computation | None:
    text = met[0]
    if re.search(r"\*\*\s*\(*-?\s*\d{4,}|\*\*.*\*\*", text):
        return None
    try:
        compile(text, "expression", "eval")
    except (SyntaxError, ValueError):
        return None
    return Computation(text, f"result = {text}")


_FORMS: tuple[tuple[str, Callable[[re.Match[str]], Computation | None]], ...] = (
    (r"first (\d+) (\w+)", _first),
    (r"(\d+)(?:st|nd|rd|th) (\w+)", _nth),
    (
        r"primes?(?: numbers?)? (?:that )?(?:are )?(below|under|up to|less than|smaller than|until) (\d{1,6})\b",
        _primes_below,
    ),
    (
        r"is (\d{1,12}) (?:a )?prime",
        lambda met: Computation(f"{met[1]} is prime", f"{_IS_PRIME}result = is_prime({met[1]})"),
    ),
    (
        r"(?:prime )?factor(?:s|i[sz]e|i[sz]ation)(?: of)? (\d{1,14})\b",
        lambda met: Computation(f"The prime factors of {met[1]}", _FACTORS.format(n=met[1])),
    ),
    (r"factorial (?:of )?(\d+)|(?<![\w.])(\d+)!|(?<![\w.])(\d+) factorial", _factorial),
    (
        r"(gcd|lcm|greatest common divisor|least common multiple)(?: of)? \(?(\d{1,30})(?:,| and|, and) (\d{1,30})",
        _of_two,
    ),
    (
        r"sum of (?:all )?(?:the )?(?:numbers|integers) (?:from |between )?(\d{1,9}) (?:to|and|through) (\d{1,9})",
        _sum_of_range,
    ),
    (
        r"square root of (\d[\d.]*)",
        lambda met: Computation(f"The square root of {met[1]}", f"import math\n\nresult = math.sqrt({met[1]})"),
    ),
    (
        r"(\d[\d.]*) ?(?:%|percent) of (\d[\d.]*)",
        lambda met: Computation(f"{met[1]} % of {met[2]}", f"result = {met[1]} * {met[2]} / 100"),
    ),
)


def computation(question: str) -> Computation | None:
    """Code for what a question asks to compute; None when nothing of the kind is recognised."""
    text = re.sub(r"(?<=\d),(?=\d{3}\b)", "", " ".join(question.lower().split()))
    text = re.sub(rf"\b({'|'.join(_NUMBERS)})\b", lambda met: str(_NUMBERS.index(met[1]) + 1), text)
    for shape, make in _FORMS:
        if (met := re.search(shape, text)) and (found := make(met)) is not None:
            return found
    for met in sorted(_EXPRESSION.finditer(text), key=lambda met: -len(met[0])):
        if (found := _expression(met)) is not None:
            return found
    return None

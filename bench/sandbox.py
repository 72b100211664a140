"""What the local sandbox costs, beside dspy's own `LocalInterpreter` (which isolates nothing), in the same run.

    python bench/sandbox.py [--rounds 5]

Prints the median of the rounds in milliseconds. The two are measured in turn, round by round, since a machine's speed
changes while one looks at it.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import dspy

from fleet_rlm.sandbox.local.local_interpreter import LocalInterpreter

PRINTS = "for i in range(100_000): print('x' * 99)"
BIG = "A line of some text that is not very long.\n" * (40_000_000 // 43)
DOCUMENTS = {f"part {number}": BIG[: len(BIG) // 10] for number in range(10)}


def seconds(work: Callable[[], Any]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def seconds_again(interpreter: Any, documents: dict[str, str]) -> float:
    def work() -> object:
        return interpreter.execute("n = len(documents)", {"documents": documents})

    work()
    return statistics.median(seconds(work) for _ in range(5))


def measure(make: Callable[..., Any]) -> dict[str, float]:
    tools = {"echo": lambda text: text}
    took: dict[str, float] = {}
    interpreter = make(tools=tools)
    took["start"] = seconds(interpreter.start)
    try:
        took["first cell"] = seconds(lambda: interpreter.execute("pass"))
        took["pass"] = statistics.median(seconds(lambda: interpreter.execute("pass")) for _ in range(100))
        took["1 call"] = statistics.median(seconds(lambda: interpreter.execute("r = echo('a')")) for _ in range(50))
        took["1,000 calls"] = seconds(lambda: interpreter.execute("for _ in range(1000): echo('a')"))
        took["64 calls in 8 threads"] = seconds(
            lambda: interpreter.execute(
                "from concurrent.futures import ThreadPoolExecutor\n"
                "with ThreadPoolExecutor(8) as pool: list(pool.map(echo, ['a'] * 64))"
            )
        )
        took["10 MB in 100,000 prints"] = seconds(lambda: interpreter.execute(PRINTS))
        took["40 MB input, first"] = seconds(lambda: interpreter.execute("n = len(context)", {"context": BIG}))
        took["40 MB input, again"] = statistics.median(
            seconds(lambda: interpreter.execute("n = len(context)", {"context": BIG})) for _ in range(5)
        )
        took["40 MB in 10 documents, again"] = seconds_again(interpreter, DOCUMENTS)
    finally:
        interpreter.shutdown()
    return took


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    makers = {"fleet-rlm": LocalInterpreter, "dspy": dspy.LocalInterpreter}
    taken: dict[str, list[dict[str, float]]] = {name: [] for name in makers}
    for _ in range(rounds):
        for name, make in makers.items():
            taken[name].append(measure(make))
    print(f"{'ms, median of ' + str(rounds):28}" + "".join(f"{name:>12}" for name in makers))
    for what in taken["dspy"][0]:
        row = [1000 * statistics.median(one[what] for one in taken[name]) for name in makers]
        print(f"{what:28}" + "".join(f"{value:12.2f}" for value in row))


if __name__ == "__main__":
    main()

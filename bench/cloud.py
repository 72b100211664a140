"""What a Modal sandbox costs over Modal's own client, on loopback, without and with 80 ms for each call.

    python bench/cloud.py [--rounds 3]

The peer is the client used by hand: a process that echoes lines, `write_bytes` for the document. Prints the median of
the rounds in milliseconds and the ratio. The server is the one of the tests: its sandboxes are processes of this
machine, so that nothing here says what Modal's machines do.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from fleet_rlm.sandbox.modal.modal_interpreter import ModalInterpreter
from modal_server import ModalServer

TEXT = "A line of some text that is not very long.\n" * (40_000_000 // 43)
ECHO = "import sys\nfor line in sys.stdin: sys.stdout.write(line); sys.stdout.flush()"
PROMPTS = 100
CALL_SECONDS = 0.1


def seconds(work: Callable[[], Any]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def by_hand() -> dict[str, float]:
    import modal

    took: dict[str, float] = {}
    app = modal.App.lookup("bench", create_if_missing=True)
    image = modal.Image.debian_slim(python_version="3.12").build(app)
    began = time.perf_counter()
    sandbox = modal.Sandbox.create(app=app, image=image, block_network=True, timeout=600)
    process = sandbox.exec("python", "-u", "-c", ECHO, text=False)
    stream = iter(process.stdout)

    def echo(line: bytes = b"pass\n") -> None:
        process.stdin.write(line)
        process.stdin.drain()
        got = b""
        while not got.endswith(b"\n"):
            got += next(stream)

    echo()
    took["start, to the first answer"] = time.perf_counter() - began
    took["there and back"] = statistics.median(seconds(echo) for _ in range(10))
    data = TEXT.encode()
    took["40 MB document, first"] = seconds(lambda: sandbox.filesystem.write_bytes(data, "/tmp/document"))
    with ThreadPoolExecutor(PROMPTS) as pool:
        took["100 calls of 100 ms at once"] = seconds(lambda: list(pool.map(time.sleep, [CALL_SECONDS] * PROMPTS)))
    sandbox.terminate()
    return took


def by_interpreter() -> dict[str, float]:
    def ask(prompts: list[str]) -> list[str]:
        with ThreadPoolExecutor(len(prompts)) as pool:
            list(pool.map(time.sleep, [CALL_SECONDS] * len(prompts)))
        return prompts

    took: dict[str, float] = {}
    interpreter = ModalInterpreter({"ask": ask}, app="bench")
    took["start, to the first answer"] = seconds(lambda: interpreter.execute("pass"))
    try:
        took["there and back"] = statistics.median(seconds(lambda: interpreter.execute("pass")) for _ in range(10))
        took["40 MB document, first"] = seconds(lambda: interpreter.execute("n = len(text)", {"text": TEXT}))
        took["40 MB document, again"] = seconds(lambda: interpreter.execute("n = len(text)", {"text": TEXT}))
        took["100 calls of 100 ms at once"] = seconds(
            lambda: interpreter.execute(f"got = ask(['a prompt'] * {PROMPTS})")
        )
    finally:
        interpreter.shutdown()
    return took


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as folder:
        os.environ["FLEET_RLM_HOME"] = folder
        server = ModalServer(Path(folder, "cloud"))
        os.environ.update(server.environment)
        try:
            by_interpreter()  # the image is built, the client imported
            for latency in (0.0, 0.08):
                server.latency(latency)
                pairs = [(by_hand(), by_interpreter()) for _ in range(rounds)]
                print(f"{f'{1000 * latency:g} ms a call; ms':32}{'by hand':>10}{'fleet-rlm':>11}{'ratio':>8}")
                for what in pairs[0][1]:
                    ours = 1000 * statistics.median(pair[1][what] for pair in pairs)
                    hand = [1000 * pair[0][what] for pair in pairs if what in pair[0]]
                    peer = statistics.median(hand) if hand else None
                    told = f"{peer:10.1f}{ours:11.1f}{ours / peer:8.2f}" if peer else f"{'':10}{ours:11.1f}"
                    print(f"{what:32}{told}")
        finally:
            server.stop()


if __name__ == "__main__":
    main()

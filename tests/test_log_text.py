"""What is logged, warned of and raised reaches a terminal without what a terminal acts on."""

from __future__ import annotations

import logging
import subprocess
import sys

import pytest

from fleet_rlm.log_text import logger

HARMFUL = "\x1b]0;title\x07 \x1b[2J\u202egnp"


def shown(program: str) -> str:
    """What a program of ours writes to standard error."""
    begin = "from fleet_rlm.log_text import clean_process\nimport logging, warnings, threading\nclean_process()\n"
    done = subprocess.run(
        [sys.executable, "-c", f"{begin}HARMFUL = {HARMFUL!r}\n{program}"], capture_output=True, text=True, check=False
    )
    return done.stderr


@pytest.mark.parametrize(
    "program",
    [
        "logging.getLogger('fleet_rlm.x').warning('it says %s', HARMFUL)",
        "logging.getLogger('anybody').error(HARMFUL)",
        "logging.basicConfig(); logging.getLogger('a.b').warning('%(a)s', {'a': HARMFUL})",
        "log = logging.getLogger('own')\nlog.addHandler(logging.StreamHandler())\nlog.warning(HARMFUL)",
        "try:\n    raise ValueError(HARMFUL)\nexcept ValueError:\n    logging.getLogger('x').exception('failed')",
        "logging.getLogger('x').warning(HARMFUL + ' %s %s', 'one')",
        "warnings.warn(HARMFUL)",
        "raise ValueError(HARMFUL)",
        "def fail():\n    raise ValueError(HARMFUL)\nt = threading.Thread(target=fail); t.start(); t.join()",
    ],
)
def test_a_program_of_ours_writes_nothing_that_a_terminal_acts_on(program: str) -> None:
    said = shown(program)
    assert "gnp" in said
    assert "\x1b" not in said
    assert "\u202e" not in said


def test_inside_somebodys_program_our_own_records_are_clean(caplog: pytest.LogCaptureFixture) -> None:
    logger("fleet_rlm.test").warning("it says %s", HARMFUL)
    logging.getLogger("somebody").warning(HARMFUL)
    ours, theirs = (record.getMessage() for record in caplog.records)
    assert "\x1b" not in ours
    assert theirs == HARMFUL

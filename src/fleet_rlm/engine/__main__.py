"""`python -m fleet_rlm.engine`: commands on stdin, events on stdout. `--describe JSON` answers a question instead."""

from __future__ import annotations

import sys

from fleet_rlm.engine.process.own_pipes import own_streams

if __name__ == "__main__":
    _commands, _events = own_streams()  # before anything else is imported

    from fleet_rlm.engine.process.engine_process import main

    main(sys.argv[1:], _commands, _events)

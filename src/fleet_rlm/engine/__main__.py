"""`python -m fleet_rlm.engine`: commands on stdin, events on stdout. `--describe JSON` answers a question instead."""

from __future__ import annotations

import sys

from fleet_rlm.engine.worker import main

if __name__ == "__main__":
    main(sys.argv[1:])

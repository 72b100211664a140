"""Record the runs in `rlm_content/runs` again (`python scripts/record_samples.py`).

The engine really runs, with the offline model and the local sandbox, on the documents that ship with the package. They
are named `bundled:…` in the records, so that every installation finds them again.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from fleet_rlm.documents import bundled
from fleet_rlm.engine.run.session import RunSession
from fleet_rlm.spec import RunSpec

RUNS = Path(__file__).parent.parent / "rlm_content" / "runs"


def specs() -> dict[str, RunSpec]:
    guide, week_ten = (bundled.PREFIX + name for name in (bundled.demo().document, bundled.WEEK_TEN))
    return {
        "ask-the-guide": RunSpec(question=bundled.demo().question, documents=(guide,)),
        "ask-week-ten": RunSpec(question="How many deliveries were refused in INC-208?", documents=(week_ten,)),
        "list-endpoints": RunSpec(task="api-endpoints", documents=(guide,)),
    }


def main() -> None:
    import dspy  # noqa: F401 - seconds of imports: a replay need not wait for them
    import litellm  # noqa: F401
    from msgspec.structs import replace

    RUNS.mkdir(exist_ok=True)
    for name, spec in specs().items():
        path = RUNS / f"{name}.jsonl"
        path.unlink(missing_ok=True)
        with tempfile.TemporaryDirectory() as folder:
            finished = RunSession(replace(spec, model="offline", cwd=folder, record=str(path), watched=True), []).run()
        path.chmod(0o644)
        print(f"{path.name}: {finished.status}, {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()

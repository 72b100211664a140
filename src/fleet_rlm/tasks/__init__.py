"""What can be asked of documents: presets with signatures, instructions and budgets (plain data)."""

from __future__ import annotations

from fleet_rlm.tasks.catalog import TASKS, Task, UnknownTask, get

__all__ = ["TASKS", "Task", "UnknownTask", "get"]

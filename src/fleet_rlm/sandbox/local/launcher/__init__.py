"""The launcher process, the watcher inside the sandbox, and the steps that isolate it.

Standard library only, and only relative imports: the launcher starts with `python -I -S`, finds this folder as the
top-level package `launcher` and imports nothing else of the project. Nothing here may import `dataclasses`, `typing`
or `json`: each costs milliseconds at every start of a sandbox.
"""

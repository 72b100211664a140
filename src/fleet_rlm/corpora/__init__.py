"""Texts whose answers are known: to measure models, planners and settings, and to try fleet-rlm on something large.

- `write.write_corpus(kind, size, seed, path)` makes one of `kinds.KINDS`: the same seed gives the same bytes, on every
  machine and at any time, and the answers are written down while the text is;
- `answers` is the file beside a text that holds its hash, its questions and their answers, and `check` compares the
  two;
- `score.score(question, outputs)` compares a run's answer with the known one;
- `docstrings.build()` makes a text of medium size out of the installed dspy package, without importing it.
"""

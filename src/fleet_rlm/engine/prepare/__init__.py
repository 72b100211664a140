"""Everything that is checked and loaded before a run begins: task, documents, inputs, models."""

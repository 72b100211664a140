"""Turn what dspy and the sandboxes do into the events of a run, and add them up."""

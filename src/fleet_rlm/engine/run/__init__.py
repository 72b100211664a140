"""One run from start to end: the session, the planner, its sandboxes, sub-LLM calls and the final answer."""

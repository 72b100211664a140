"""The pieces of New run: what was typed, what it means, and what the engine says of it."""

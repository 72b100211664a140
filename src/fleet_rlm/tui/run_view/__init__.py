"""What the screen derives from a run: the position in it, its state in words, where its texts come from."""

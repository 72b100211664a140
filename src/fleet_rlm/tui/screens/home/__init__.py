"""The pieces of Home: a run as a row, the table of runs, the preview of one, and what an empty library offers."""

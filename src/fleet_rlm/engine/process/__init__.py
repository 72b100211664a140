"""The engine process: commands on stdin, events on stdout, and answers to questions before a run."""

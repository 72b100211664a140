"""The worker process: commands on stdin, events on stdout, and questions answered before a run."""

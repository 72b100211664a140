"""`fleet-rlm doctor`: what a run needs, looked at on this machine, one room a file.

A check returns findings and raises nothing that a person could meet; one that fails all the same becomes a finding.
"""

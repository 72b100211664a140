"""What hostile code tries, by what it tries to reach. These files run *inside* a sandbox: standard library only.

An attack is a function of the target (what the harness planted outside). It returns a word about what it got, or
None, or raises `OSError`: then it was stopped. `ATTACKS` maps the claim that it would disprove, in the report's own
words or `in every mode`, to the attacks on it. Those in `HARMLESS` also run where nothing protects, to see that they
can succeed at all.
"""

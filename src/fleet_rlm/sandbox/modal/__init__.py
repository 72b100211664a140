"""Generated code in Modal's cloud: the same driver and protocol as everywhere, over a transport of Modal's.

Nothing here imports the `modal` package before it is used: the import takes half a second, and needs no account to
fail.
"""

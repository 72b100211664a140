"""The driver: what runs inside every sandbox, of the standard library alone, for Python 3.10 or newer.

`fleet_rlm.sandbox.host.artefact` packs these files into one artefact, the same bytes for every backend; `bootstrap.py`
is run first there. A *supervisor* speaks the protocol of `fleet_rlm.sandbox.host.protocol` and runs no generated code;
a *worker*, forked from it, runs the cells. The worker may print anything, hang, crash or be killed: the supervisor
keeps the channel, reports what happened and forks another worker.
"""

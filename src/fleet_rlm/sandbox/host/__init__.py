"""The host side of a sandbox: the protocol, executions and their bounds, inputs, the pool of fresh sandboxes."""

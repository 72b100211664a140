"""What `fleet-rlm init` installs for Claude Code, and how it gets there, stays checkable and goes away again."""

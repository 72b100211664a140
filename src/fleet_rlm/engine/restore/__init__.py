"""Restore a run whose sandbox is lost: record its steps and run them again in a new sandbox."""

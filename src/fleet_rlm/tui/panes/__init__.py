"""The panes of the Run screen, one file each. A pane draws one aspect of a run's state and keeps no truth itself."""

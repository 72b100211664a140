"""What panes and screens are made of: rows of text and tables of any length, and the run's own instruments.

`line_view` shows `rows`; `table` shows records; `pane_grid` lays panes out, resizes and maximises them. `timeline`,
`run_header`, `gate_bar`, `key_bar` and `find_bar` are the lines around them.
"""

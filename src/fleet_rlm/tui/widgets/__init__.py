"""The widgets of panes and screens: rows of text and tables of any length, and the lines around them.

`line_view` shows `rows`; `record_table` shows records; `pane_grid` lays panes out, resizes and maximises them.
`timeline`, `run_header`, `gate_bar`, `key_bar` and `find_bar` are the lines around them.
"""

"""Functions that the planner writes into its cells, as they stand here: their source is what runs in the sandbox.

So these modules keep to the standard library, import nothing but each other, and hold no three backticks in a row,
which would end the planner's code block. `cells` finds which functions a cell needs and adds them once. The host calls
some of them itself (`fitting`), so that a value is made to fit its type in one way only.
"""

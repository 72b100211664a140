"""Control over a running run: pauses and breakpoints, budgets, cancellation, commands of the person."""

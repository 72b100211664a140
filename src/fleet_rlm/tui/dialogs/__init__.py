"""Small questions over a screen: `app.push_screen(dialog, callback)` or, in a worker, `app.push_screen_wait(dialog)`.

=================================  ==========================================================================
`Confirm(question, yes, no)`       `bool`; escape and the first focus are *no*
`Choose(question, choices)`        the chosen value, None on escape
`Message(title, text)`             something to read, nothing to decide
`AskText(title, text)`             `str | None` (None on escape)
`EditCode(code)`                   `str | None`: the code to run instead, None when nothing is to change
`PickPath(start)`                  `Path | None`, in `dialogs.paths`
=================================  ==========================================================================

All take untrusted text: it is cleaned here and never read as markup.
"""

from __future__ import annotations

from fleet_rlm.tui.dialogs.choose import Choice, Choose, Confirm, Message
from fleet_rlm.tui.dialogs.text import AskText, EditCode

__all__ = ["AskText", "Choice", "Choose", "Confirm", "EditCode", "Message"]

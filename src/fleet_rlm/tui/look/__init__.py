"""How the app looks: themes, the stylesheet, key names, the footer."""

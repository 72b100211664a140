"""The Run screen: its keys, live controls, navigation, search, and the windows that it opens."""

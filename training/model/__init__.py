"""The network, its losses, and how it is fitted."""

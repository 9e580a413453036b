"""How well a generation recommends, measured on the owner's own events."""

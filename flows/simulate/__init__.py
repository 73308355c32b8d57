"""An invented city, with known trouble, and the truth about it."""

"""A reading's way: sources, decode, the grid of a zone, kernels, and the dataflows that join them."""

"""How fast, how small: figures of this machine, each beside a peer or a limit that was measured in the same run."""

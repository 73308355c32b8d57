"""Results as rows of lake tables and as messages of topics."""

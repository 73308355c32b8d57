"""Bytes to columns: thousands of messages at once, and a reject for each that breaks the contract."""

"""Lights and alerts: decided once as slots close, never revised."""

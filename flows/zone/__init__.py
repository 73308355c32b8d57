"""A zone of the city: watermark, triggers, early and late readings, and what becomes of each batch."""

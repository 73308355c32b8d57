"""The lights of a city as a reader sees them: from the topic, or from the lake."""

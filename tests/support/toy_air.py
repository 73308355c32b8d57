"""Air of the toy flow: days of readings and reports, with runs of excess, and a fault of station ``d``."""

import numpy as np

START = 1_767_225_600
"""A second: 2026-01-01, 09:00 in Seoul."""
HOUR = 3600
DAYS = 6


def air(seed=1, days=DAYS):
    """Rows of (second, sensor or report, {parameter: value}), in the order of their times."""
    random = np.random.default_rng(seed)
    rows = []
    for name, every in (("d", 600), ("e", 600), ("f", HOUR), ("g", HOUR)):
        high = 0
        for second in range(START + every, START + days * 24 * HOUR + 1, every):
            if random.random() < every / HOUR / 15:
                high = second + int(random.integers(1, 5)) * HOUR
            level = 20.0 + (40.0 if second < high else 0.0)
            if name == "d" and 80 * HOUR < second - START < 84 * HOUR:
                level = 700.0
            pm25 = round(level + random.normal(0, 1), 1)
            if random.random() > 0.03:
                rows.append((second, name, {"pm25": pm25, "pm10": round(1.5 * pm25, 1)}))
    rows += [(START + int(random.integers(1, days * 24 * HOUR)), f"r{i}", None) for i in range(60)]
    return sorted(rows, key=lambda row: (row[0], row[1]))

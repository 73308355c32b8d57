"""``cityair demo``: a day of a simulated city and two weeks of recorded air, played into lakes and reported on."""

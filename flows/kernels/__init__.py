"""Pure maths: arrays in, arrays out; no clock, file, environment or random generator."""

"""The demo: a story of conversions, each with the end it must come to."""

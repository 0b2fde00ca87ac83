"""Comparing recorded runs: who is compared, the statistics, what they say in words, and the page."""

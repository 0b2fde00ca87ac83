"""Whether this machine can do what the recipes ask of it: small checks, each of one thing, each with its advice."""

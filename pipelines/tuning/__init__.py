"""Searching hyperparameters: Keras Tuner says what to try next, each trial is a training of its own."""

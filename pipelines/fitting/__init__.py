"""The trainer: the only place that compiles and fits. Plain training, tuning and transfer share it."""

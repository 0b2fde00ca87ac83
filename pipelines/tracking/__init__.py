"""What is known about runs, in MLflow: the only place that imports it."""

"""Training of any learner in a run directory: progress, validation, checkpoints, resuming."""

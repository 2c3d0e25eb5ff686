"""Training in a run directory, whatever the learner: progress, validation, checkpoints, resuming."""

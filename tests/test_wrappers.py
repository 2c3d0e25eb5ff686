"""The wrapper that moves the action mask into the observation."""

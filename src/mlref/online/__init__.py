"""Online learning: stateful, in micro-batches, and nothing reaches users except through the gate."""

"""From model to model: data that models write for the next stage, and the stages as one graph that goes on where it stopped."""

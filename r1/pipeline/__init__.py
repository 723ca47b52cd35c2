"""From model to model: data that models write for the next stage, and the stages in a row."""

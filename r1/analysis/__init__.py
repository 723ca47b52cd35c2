"""Reading runs and traces: reflections, plots, reports. Nothing here trains, and nothing needs torch."""

"""From problems to traces (sample), from traces to batches (collate), and to and from files (trace_file)."""

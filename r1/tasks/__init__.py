"""Problem sets: `.train`, `.validation`, `.test`, each a list of `Problem`, split by problem."""

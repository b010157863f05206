"""Figures of the programs as they run; README.md says what each measures and how to read them."""

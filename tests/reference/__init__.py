"""The papers in float64 NumPy, with loops and dense matrices. Imports NumPy only."""

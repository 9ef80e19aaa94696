"""Rendering by gradient ascent: one module for each kind of recipe, and what they share."""

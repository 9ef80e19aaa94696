"""Recipes: all that decides a picture, as plain data.

A kind of picture has its knobs in one file; `recipe.Recipe` is what they share.
"""

"""Batch runs: tasks for many images, the workers that render them, and the manifest."""

"""The HTTP side of the app: API endpoints, request limits, middleware and temporary files."""

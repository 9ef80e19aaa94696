"""The entry of a Space: starts the app, as `dream serve` does."""

import sys

from dream.errors import DreamError
from dream.page.app import main

if __name__ == "__main__":
    try:
        main()
    except DreamError as error:  # An environment variable has an invalid value.
        sys.exit(f"Error: {error}")

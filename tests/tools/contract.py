"""The API as a contract: writes `tests/contract.json` anew, `make contract`.

What clients rely on: the endpoints, their parameters in order, with types and defaults, and what
they return.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from gradio_client import Client

from tests.support.server import run_app

FILE = Path(__file__).parents[1] / "contract.json"


def of(client: Client) -> str:
    """What an app promises of each endpoint; a parameter with no default is required."""
    endpoints = client.view_api(return_format="dict", print_info=False)["named_endpoints"]
    promised = {
        name: {
            "parameters": [parameter(each) for each in about["parameters"]],
            "returns": [
                f"{each['label']}: {each['python_type']['type']}" for each in about["returns"]
            ],
        }
        for name, about in endpoints.items()
    }
    return json.dumps(promised, indent=2, sort_keys=True) + "\n"


def parameter(about: dict[str, Any]) -> str:
    """A parameter as in the signature of a Python function."""
    default = f" = {about['parameter_default']!r}" if about["parameter_has_default"] else ""
    return f"{about['parameter_name']}: {about['python_type']['type']}{default}"


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, run_app(Path(folder) / "log") as address:
        FILE.write_text(of(Client(address, verbose=False)))
    print(f"{FILE.name} is what the app promises now; git diff says what changed.")


if __name__ == "__main__":
    main()

"""Write the API's contract to `tests/contract.json`: `make contract`.

Clients rely on the endpoints, the order, types and defaults of their parameters, and the results.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from gradio_client import Client

from tests.support.server import run_app

FILE = Path(__file__).parents[1] / "tests" / "contract.json"


def contract_json(client: Client) -> str:
    """Return the contract as JSON; a parameter without a default is required."""
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
    """Return a parameter as in the signature of a Python function."""
    default = f" = {about['parameter_default']!r}" if about["parameter_has_default"] else ""
    return f"{about['parameter_name']}: {about['python_type']['type']}{default}"


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, run_app(Path(folder) / "log") as address:
        FILE.write_text(contract_json(Client(address, verbose=False)))
    print(f"{FILE.name} matches the app now; git diff shows what changed.")


if __name__ == "__main__":
    main()

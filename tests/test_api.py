"""The API as its clients know it: what it promises."""

from collections.abc import Iterator

import pytest
from gradio_client import Client

from . import contract
from .server import served

pytestmark = pytest.mark.filterwarnings("default")


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with served(tmp_path_factory.mktemp("app") / "log") as address:
        yield address


def test_the_api_is_what_was_promised(address: str) -> None:
    now = contract.of(Client(address, verbose=False))
    assert now.splitlines() == contract.FILE.read_text().splitlines(), (
        "the API is not what tests/contract.json promises to its clients. "
        "If you meant to change it, run `make contract` and say so in CHANGELOG.md."
    )

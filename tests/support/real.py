"""The folder of real networks beside this checkout, if any, and ten classes they judge."""

from tests.conftest import ROOT

REAL_WEIGHTS_FOLDER = ROOT.parent / "shared" / "weights"
TEN_CLASSES = (
    *("goldfish", "green snake", "flamingo", "tabby", "ladybug"),
    *("volcano", "pizza", "daisy", "school bus", "jellyfish"),
)

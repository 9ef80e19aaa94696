"""Words for channels exist exactly for the shipped images, which somebody looked at."""

import re
from collections import defaultdict

from dream.networks.channel_looks import channel_looks
from dream.page.tabs.channels import _captions
from dream.recipe import ChannelRecipe
from tests.conftest import EXAMPLES


def test_every_shipped_channel_has_words_and_no_other() -> None:
    shipped = defaultdict(set)
    for path in (EXAMPLES / "channels").glob("*.png"):
        model, layer, channel = re.findall(r"(\w+)-(\w+)-(\d+)-", path.name)[0]
        shipped[model, layer].add(int(channel))
    assert len(shipped) == 3
    for names, channels in shipped.items():
        looks = channel_looks(*names)
        assert looks.keys() == channels and all(looks.values())
        assert len(set(looks.values())) == len(looks)
    assert channel_looks("dreamlet", "inception4a") == channel_looks("vgg16", "relu4_3") == {}


def test_a_caption_has_what_is_known() -> None:
    recipe = ChannelRecipe(layer="inception4c")
    assert _captions(recipe, [80, 81]) == {80: "80 · towers and wheels", 81: "81"}
    strengths = {81: 2.04, 80: 1.0}
    expected = {81: "81 · 2.0", 80: "80 · 1.0 · towers and wheels"}
    assert _captions(recipe, strengths, strengths) == expected

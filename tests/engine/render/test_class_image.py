"""Class images: the network classifies them as the class on a fresh pass."""

from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import Tensor

from dream import ChannelRecipe, ClassRecipe, DreamRecipe, Engine, RecipeError
from dream.networks import catalogue
from dream.networks.network import Network
from dream.recipe import Recipe
from dream.recipe.knob import knobs
from dream.render import kinds
from dream.render.class_image import class_objective, classify, select_best
from tests.conftest import REAL_WEIGHTS_FOLDER, TEN_CLASSES, render_recipes
from tools.measure import last_frame, save_random_weights


def whole_network_logits(network: Network, picture: Tensor) -> np.ndarray:
    """Return the logits of the unmodified network, which the package never runs."""
    eight_bits = (picture * 255).round() / 255
    with torch.no_grad():
        logits = network.network((eight_bits - network.mean) / network.std)
    return logits[0].numpy()


@pytest.fixture(scope="module")
def three_classes(network: Network) -> list[tuple[ClassRecipe, Tensor]]:
    """Return three classes and their images, in float32; `make bench` judges ten."""
    recipes = [ClassRecipe(target=name, size=112, steps=64) for name in TEN_CLASSES[:3]]
    frames = (frame for frame in render_recipes(network, recipes) if frame.finished)
    return [(recipe, frame.tensor) for recipe, frame in zip(recipes, frames, strict=True)]


def test_most_class_images_are_what_the_network_takes_them_for(
    three_classes: list[tuple[ClassRecipe, Tensor]], network: Network
) -> None:
    first = [
        int(whole_network_logits(network, picture).argmax()) == recipe.targets[0][0]
        for recipe, picture in three_classes
    ]
    assert sum(first) >= 2


def test_another_network_takes_most_for_the_same(
    three_classes: list[tuple[ClassRecipe, Tensor]],
) -> None:
    model = "squeezenet1_1"
    path = REAL_WEIGHTS_FOLDER / f"{model}.safetensors"
    if not path.exists():
        pytest.skip(f"no {path.name} in {REAL_WEIGHTS_FOLDER}")
    judge = Engine("cpu", {model: path})
    ranks = [
        judge.verdict(picture, recipe.with_changes(model=model)).rank
        for recipe, picture in three_classes
    ]
    assert sum(rank <= 5 for rank in ranks) >= 2


def test_classic_equals_a_ten_line_reference(network64: Network) -> None:
    recipe = ClassRecipe(target="goldfish", mode="classic", size=64, steps=6, penalty=0.01, seed=3)
    frames = list(render_recipes(network64, [recipe]))
    picture = frames[0].tensor.double()
    for frame in frames[1:]:
        leaf = picture.clone().requires_grad_()
        seen = (leaf - network64.mean) / network64.std
        score = network64.network(seen)[0, 1] - 0.01 * (seen**2).sum()
        (gradient,) = torch.autograd.grad(score, leaf)
        picture = picture + gradient / gradient.abs().mean() * (2.0 / 255)
        assert (frame.tensor - picture.clamp(0, 1)).abs().max() < 1e-4
        assert frame.value == pytest.approx(score.item(), rel=1e-4, abs=1e-3)


@pytest.mark.parametrize("mode", knobs(ClassRecipe)["mode"].choices)
def test_every_mode_raises_the_class_above_all_others(
    mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DREAM_PRECISION", "float32")  # In so few steps bfloat16 may raise it less.
    engine, recipe = Engine("cpu"), ClassRecipe(target="flamingo", mode=mode, size=112, steps=40)
    frames = list(engine.class_image(recipe))
    before, after = (engine.verdict(frame.tensor, recipe) for frame in (frames[0], frames[-1]))
    assert after.logit > before.logit + 5 and after.rank <= 3 < before.rank
    assert frames[-1].picture().size == (112, 112)
    assert len(frames) == 41 and frames[-1].finished and frames[-1].done == pytest.approx(1)


def test_the_same_recipe_gives_the_same_picture_and_another_seed_another(
    engine: Engine, one_thread: None
) -> None:
    one, same, other = (
        last_frame(engine.class_image(ClassRecipe(size=96, steps=12, seed=seed))).tensor
        for seed in (3, 3, 4)
    )
    assert torch.equal(one, same)
    assert (one - other).abs().mean() * 255 > 2


def test_the_best_of_several_tries_goes_on(network: Network, cat: Tensor) -> None:
    recipe = ClassRecipe(target="tabby")
    pictures = torch.cat([cat.flip(1), cat, 1 - cat])
    scores = [whole_network_logits(network, picture)[281] for picture in pictures.split(1)]
    assert np.argmax(scores) == 1
    objective = class_objective(network.card, recipe)
    assert torch.equal(select_best(network, objective, pictures), cat)


@pytest.mark.parametrize(("mode", "counts"), [("single", (3, 2, 2, 3)), ("growing", (5, 3, 2))])
def test_frames_count_the_steps_of_each_size(
    mode: str, counts: tuple[int, ...], network: Network
) -> None:
    recipe = ClassRecipe(mode=mode, size=64, steps=10, tries=3)
    start, *frames = render_recipes(network, [recipe])
    assert {tuple(each.tensor.shape) for each in (start, *frames)} == {(1, 3, 64, 64)}
    assert [(frame.octave, frame.octave_step, frame.octave_steps) for frame in frames] == [
        (octave, step, count)
        for octave, count in enumerate(counts, start=1)
        for step in range(1, count + 1)
    ]
    # A size without a step still finishes the image.
    *_, last = render_recipes(network, [recipe.with_changes(steps=1)])
    assert last.finished and last.step == last.total == 1


def test_sizes_and_steps_of_an_older_recipe_stay() -> None:
    older = Recipe.from_dict({"kind": "class", "mode": "growing", "size": 224, "steps": 248})
    ((*stages,),) = (job.stages for job in kinds.plan([older], None))
    assert [(each.size[0], each.steps) for each in stages] == [(96, 128), (144, 80), (224, 40)]


def test_a_single_subject_starts_small_but_large_enough_to_be_seen() -> None:
    recipes = [ClassRecipe(size=size, steps=60) for size in (224, 128, 48)]
    starts = [job.stages[0].size for job in kinds.plan(recipes, None)]
    assert starts == [(64, 64), (64, 64), (48, 48)]


def test_a_single_subject_forms_in_the_middle(network: Network) -> None:
    def centring(mode: str) -> float:
        """Return the contrast of the middle half of the first size, relative to the whole."""
        recipe = ClassRecipe(target="flamingo", mode=mode, size=192, steps=60, tries=1)
        frames = render_recipes(network, [recipe])
        picture = next(each for each in frames if each.octave_step == each.octave_steps).tensor
        return float(picture[..., 48:144, 48:144].std() / picture.std())

    assert centring("single") > 1.1 * centring("growing")


def test_a_photo_keeps_its_shape_and_becomes_more_of_the_class(engine: Engine, cat: Tensor) -> None:
    recipe = ClassRecipe(target="tiger", size=160, steps=24)
    frames = list(engine.class_image(recipe, cat))
    before, after = (engine.verdict(frame.tensor, recipe) for frame in (frames[0], frames[-1]))
    assert {frame.picture().size for frame in frames[::8]} == {(160, 106)}
    assert after.probability > 0.5 > before.probability
    change = (frames[-1].tensor - frames[0].tensor).abs().mean() * 255
    assert 5 < change < 50  # Still the photo.


def test_several_classes_are_raised_together(engine: Engine) -> None:
    recipe = ClassRecipe(target="goldfish:1,jellyfish:1", size=80, steps=30)
    seen = dict(engine.verdict(last_frame(engine.class_image(recipe)).tensor, recipe).seen)
    assert {"goldfish", "jellyfish"} <= set(seen)


def test_the_verdict_is_that_of_the_whole_network(network: Network, cat: Tensor) -> None:
    recipe = ClassRecipe(target="tabby")
    said = classify(network, cat, recipe)
    logits = whole_network_logits(network, cat)
    shares = np.exp(logits - logits.max()) / np.exp(logits - logits.max()).sum()
    assert said.target == "tabby" and said.logit == pytest.approx(logits[281], rel=1e-4)
    assert said.probability == pytest.approx(shares[281], rel=1e-3)
    assert said.rank == 1 + (logits > logits[281]).sum()
    assert [share for _, share in said.seen] == pytest.approx(sorted(shares)[:-6:-1], rel=1e-3)


# AlexNet's head needs a fixed size, as those of VGG do; SqueezeNet's ends in a convolution.
QUICK_HEADS = ("alexnet", "squeezenet1_1")
OTHER_HEADS = sorted(catalogue.CARDS.keys() - {"dreamlet", "vgg16", "vgg19", *QUICK_HEADS})


@pytest.mark.parametrize(
    "model",
    [*QUICK_HEADS, *(pytest.param(model, marks=pytest.mark.at_scale) for model in OTHER_HEADS)],
)
def test_every_network_makes_class_images_with_its_head(model: str, tmp_path: Path) -> None:
    card, path = catalogue.get_card(model), tmp_path / f"{model}.safetensors"
    save_random_weights(card, path)
    engine = Engine("cpu", {model: path})
    recipe = ClassRecipe(model=model, size=max(96, card.min_side), steps=2, tries=1)
    frames = list(engine.class_image(recipe))
    assert len(frames) == 3 and not torch.equal(frames[0].tensor, frames[-1].tensor)
    # A head that needs a fixed size gets it; the verdict equals the whole network's.
    said = engine.verdict(torch.rand(1, 3, 224, 224), recipe)
    assert len(said.seen) == 5 and 1 <= said.rank <= 1000


def test_weights_of_three_classes_are_numbered_and_checked(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model, path = "squeezenet1_1", tmp_path / "three.safetensors"
    whole = catalogue.get_card(model).build(num_classes=3)
    safetensors.torch.save_file(whole.state_dict(), path)
    engine, noise = Engine("cpu", {model: path}), torch.rand(1, 3, 64, 64)
    class_recipe = ClassRecipe(model=model, target="2", size=64, steps=1)
    said = engine.verdict(last_frame(engine.class_image(class_recipe)).tensor, class_recipe)
    assert said.target == "2" and {name for name, _ in said.seen} == set("012")
    with pytest.raises(RecipeError, match="have classes 0 to 2, not 963"):
        next(engine.class_image(class_recipe.with_changes(target="pizza")))
    assert len(engine.response(noise, model, "classifier").activation[0]) == 3
    for layer in ("classifier", "classifier.1"):
        recipe = ChannelRecipe(model=model, layer=layer, channel=2, size=64, steps=1)
        assert [frame.step for frame in engine.channel(recipe)] == [0, 1]
        recipe = recipe.with_changes(channel=500)
        dream = DreamRecipe(model=model, layer=layer, channels="1,500")
        said_of = f"with these weights of {model} {layer} has channels 0 to 2, not 500"
        for frames in (
            engine.channel(recipe),
            engine.channel(recipe, noise),
            engine.dream(noise, dream),
        ):
            with pytest.raises(RecipeError, match=said_of):
                next(frames)

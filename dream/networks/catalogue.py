"""The catalogue of networks: one `ModelCard` each. To add a model, add an entry to `CARDS`."""

from __future__ import annotations

from dream.errors import RecipeError, describe_value, suggest_names
from dream.networks.model_card import Layer, ModelCard, Source

TORCHVISION_URL = "https://download.pytorch.org/models/"


def _feature_layers(*rows: tuple[int, str, str, str]) -> tuple[Layer, ...]:
    """Return layers of `features` from rows of (index, alias, kind, effect)."""
    return tuple(
        Layer(f"features.{index}", kind, effect, alias) for index, alias, kind, effect in rows
    )


# Faces, whole animals, towers and heads; in blind pairs towers beat fields of eyes (inception4a).
GOOGLENET_ZOOM_LAYERS = ("inception4c", "inception5a", "inception4e")
GOOGLENET_LAYERS = (
    Layer("conv3", "edges", "Strokes"),
    Layer("inception3a", "textures", "Swirls"),
    Layer("inception3b", "patterns", "Rings, eyes"),
    Layer("inception4a", "patterns", "Eye fields"),
    Layer("inception4b", "parts", "Snouts"),
    Layer("inception4c", "parts", "Faces, wheels"),
    Layer("inception4d", "creatures", "Animals"),
    Layer("inception4e", "creatures", "Towers, heads"),
    Layer("inception5a", "creatures", "Whole animals"),
    Layer("inception5b", "creatures", "Faint animal"),
)
TIMM_VGG_PREFIXES = (
    ("pre_logits.fc1.", "classifier.0."),
    ("pre_logits.fc2.", "classifier.3."),
    ("head.fc.", "classifier.6."),
)


CARDS = {
    card.name: card
    for card in (
        ModelCard(
            name="dreamlet",
            description="GoogLeNet at 5/8 of its width; included, needs no download",
            builder="dream.networks.dreamlet:Dreamlet",
            licence="MIT",
            low_layer="inception3b",
            default_layer="inception4c",
            high_layer="inception5a",
            layers=GOOGLENET_LAYERS,
            zoom_layers=GOOGLENET_ZOOM_LAYERS,
            means_file="dreamlet_means.safetensors",
            source=Source(
                file="dreamlet.safetensors",
                sha256="c90a49245737d80c397a196c6089e1d04124575108906bc1cbdf930679d20f88",
                megabytes=6.1,
            ),
        ),
        ModelCard(
            name="vgg16",
            description="VGG, 16 layers (Simonyan and Zisserman 2014); thick paint, eyes, spires",
            low_layer="features.15",
            default_layer="features.22",
            high_layer="features.29",
            layers=_feature_layers(
                (3, "relu1_2", "edges", "Edges"),
                (8, "relu2_2", "textures", "Weave"),
                (15, "relu3_3", "patterns", "Swirls"),
                (20, "relu4_2", "patterns", "Scales, arches"),
                (22, "relu4_3", "parts", "Eyes, arches"),
                (29, "relu5_3", "creatures", "Heads, birds"),
                (30, "pool5", "creatures", "Heads, sparse"),
            ),
            is_heavy=True,
            head="classifier",
            last_weight_layer="classifier.6",
            head_side=224,
            source=Source(
                repo="timm/vgg16.tv_in1k",
                file="model.safetensors",
                revision="3394518cba29aee1ea82a49d971be90d2dd1dab7",
                sha256="57b026918159a6bf9faf8405c3a551903768e7138989d9c6224a14227203fad8",
                megabytes=553,
                url=TORCHVISION_URL + "vgg16-397923af.pth",
                key_prefixes=TIMM_VGG_PREFIXES,
            ),
        ),
        ModelCard(
            name="vgg19",
            description="VGG, 19 layers (Simonyan and Zisserman 2014); like vgg16, finer",
            low_layer="features.17",
            default_layer="features.26",
            high_layer="features.35",
            layers=_feature_layers(
                (3, "relu1_2", "edges", "Edges"),
                (5, "conv2_1", "textures", "Weave"),
                (8, "relu2_2", "textures", "Cloth"),
                (12, "conv3_2", "patterns", "Knots"),
                (17, "relu3_4", "patterns", "Swirls"),
                (26, "relu4_4", "parts", "Eyes, arches"),
                (28, "conv5_1", "creatures", "Heads"),
                (31, "relu5_2", "creatures", "Birds"),
                (35, "relu5_4", "creatures", "Heads, sparse"),
            ),
            is_heavy=True,
            head="classifier",
            last_weight_layer="classifier.6",
            head_side=224,
            source=Source(
                repo="timm/vgg19.tv_in1k",
                file="model.safetensors",
                revision="128d4708565b3a414bcbb9bbad440b2fe37b9f18",
                sha256="11aea017b543ff59233749d8f1cf544cda749378f5790d2fedab841fb86b7669",
                megabytes=575,
                url=TORCHVISION_URL + "vgg19-dcbb9e9d.pth",
                key_prefixes=TIMM_VGG_PREFIXES,
            ),
        ),
        ModelCard(
            name="googlenet",
            description="Inception v1 (Szegedy et al. 2014); that of the first Deep Dreams, 2015",
            options={"aux_logits": False, "init_weights": False, "transform_input": True},
            low_layer="inception3b",
            default_layer="inception4c",
            high_layer="inception4e",
            layers=GOOGLENET_LAYERS,
            zoom_layers=GOOGLENET_ZOOM_LAYERS,
            laplacian_bands=4,
            source=Source(
                repo="theunnecessarythings/vision_models",
                file="googlenet.safetensors",
                revision="1cb71ed300bf5b1913894c0f000a0146cfb4b431",
                sha256="d65208bbda6eb067746e1d3ecaa7752932accabf5083fabf8f912eecbae6484c",
                megabytes=26.6,
                url=TORCHVISION_URL + "googlenet-1378be20.pth",
            ),
        ),
        ModelCard(
            name="inception_v3",
            description="Inception v3 (Szegedy et al. 2015); fine ornaments, Keras layer names too",
            options={"aux_logits": False, "init_weights": False, "transform_input": True},
            low_layer="Mixed_5d",
            default_layer="Mixed_6b",
            high_layer="Mixed_7a",
            layers=(
                Layer("Mixed_5b", "textures", "Threads", "mixed0"),
                Layer("Mixed_5c", "textures", "Weave", "mixed1"),
                Layer("Mixed_5d", "patterns", "Curls", "mixed2"),
                Layer("Mixed_6a", "patterns", "Eyes, curls", "mixed3"),
                Layer("Mixed_6b", "parts", "Eyes, snouts", "mixed4"),
                Layer("Mixed_6c", "parts", "Faces", "mixed5"),
                Layer("Mixed_6d", "creatures", "Animals", "mixed6"),
                Layer("Mixed_6e", "creatures", "Animals", "mixed7"),
                Layer("Mixed_7a", "creatures", "Sparse", "mixed8"),
            ),
            min_side=75,
            is_heavy=True,
            source=Source(
                repo="timm/inception_v3.tv_in1k",
                file="model.safetensors",
                revision="main",  # 9506574 in short
                sha256="9c452c63a67fd03a38a78c401ba12d4be0e926df63c93403de3a29f6df20fefb",
                megabytes=95.5,
                url=TORCHVISION_URL + "inception_v3_google-0cc3c7bd.pth",
            ),
        ),
        ModelCard(
            name="resnet50",
            description="Residual network, 50 layers (He et al. 2015); from scribbles to animals",
            low_layer="layer2",
            default_layer="layer3",
            high_layer="layer4",
            layers=(
                Layer("layer1", "textures", "Scribbles"),
                Layer("layer2", "patterns", "Feathers"),
                Layer("layer3", "parts", "Eyes, faces"),
                Layer("layer4", "creatures", "Animals"),
            ),
            is_heavy=True,
            source=Source(
                repo="timm/resnet50.tv_in1k",
                file="model.safetensors",
                revision="aa6c2d36d56bc0209040c02b5a7b7d7bf11d57b8",
                sha256="5d061a3c593d795bfe682d9b152bafbcf550579873492def3515b46db1189888",
                megabytes=102,
                url=TORCHVISION_URL + "resnet50-0676ba61.pth",
            ),
        ),
        ModelCard(
            name="alexnet",
            description="AlexNet (Krizhevsky et al. 2012); coarse and bright, for class images",
            low_layer="features.7",
            default_layer="features.11",
            high_layer="features.12",
            layers=_feature_layers(
                (1, "relu1", "edges", "Edges"),
                (4, "relu2", "textures", "Blobs"),
                (7, "relu3", "patterns", "Swirls"),
                (9, "relu4", "parts", "Eyes"),
                (11, "relu5", "parts", "Eyes, fur"),
                (12, "pool5", "creatures", "Sparse"),
            ),
            min_side=63,
            head="classifier",
            last_weight_layer="classifier.6",
            head_side=224,
            source=Source(244, url=TORCHVISION_URL + "alexnet-owt-7be5be79.pth"),
        ),
        ModelCard(
            name="squeezenet1_1",
            description="SqueezeNet 1.1 (Iandola et al. 2016); 5 MB, fast and garish",
            low_layer="features.7",
            default_layer="features.10",
            high_layer="features.12",
            layers=(
                Layer("features.4", "edges", "Strokes", "fire3"),
                Layer("features.6", "textures", "Dots", "fire4"),
                Layer("features.7", "patterns", "Eye spots", "fire5"),
                Layer("features.10", "parts", "Faces", "fire7"),
                Layer("features.11", "parts", "Faces, thin", "fire8"),
                Layer("features.12", "creatures", "Faint animal", "fire9"),
            ),
            laplacian_bands=4,
            last_weight_layer="classifier.1",
            output_layer="classifier.3",
            source=Source(5, url=TORCHVISION_URL + "squeezenet1_1-b8a52dc0.pth"),
        ),
        ModelCard(
            name="mobilenet_v2",
            description="MobileNet v2 (Sandler et al. 2018); 14 MB, delicate",
            low_layer="features.6",
            default_layer="features.13",
            high_layer="features.16",
            layers=(
                Layer("features.3", "edges", "Lattice"),
                Layer("features.6", "textures", "Ornaments"),
                Layer("features.10", "patterns", "Bands, fur"),
                Layer("features.13", "parts", "Spots, snouts"),
                Layer("features.16", "creatures", "Fine fur"),
                Layer("features.17", "creatures", "Veins, faint"),
            ),
            last_weight_layer="classifier.1",
            source=Source(14, url=TORCHVISION_URL + "mobilenet_v2-b0353104.pth"),
        ),
        ModelCard(
            name="densenet121",
            description="Densely connected network, 121 layers (Huang et al. 2016)",
            low_layer="features.denseblock2",
            default_layer="features.denseblock3",
            high_layer="features.denseblock4",
            layers=(
                Layer("features.denseblock1", "textures", "Strokes", "block1"),
                Layer("features.denseblock2", "patterns", "Feathers", "block2"),
                Layer("features.denseblock3", "parts", "Eyes, faces", "block3"),
                Layer("features.denseblock4", "creatures", "Animals", "block4"),
            ),
            is_heavy=True,
            last_weight_layer="classifier",
            source=Source(
                repo="timm/densenet121.tv_in1k",
                file="model.safetensors",
                revision="main",  # d42603a in short
                sha256="c894c6d9caa317a8ca1942986dee7a16a86c77734a4d691d2abe05389cfef358",
                megabytes=32.3,
                url=TORCHVISION_URL + "densenet121-a639ec97.pth",
            ),
        ),
    )
}


# The default model on a GPU is the first of these whose weights exist (see `Engine.default_model`).
GPU_DEFAULT_MODELS = ("googlenet", "vgg16", "vgg19", "inception_v3", "resnet50")


def get_card(name: str) -> ModelCard:
    """Return the card of a model; a `RecipeError` suggests similar names if there is none."""
    if not isinstance(name, str) or name not in CARDS:
        raise RecipeError(
            f"model {describe_value(name, 60)} is not known; {suggest_names(name, CARDS)}"
        )
    return CARDS[name]

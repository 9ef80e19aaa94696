"""The networks on offer, one `ModelCard` each. A new model is one more entry in `CARDS`."""

from __future__ import annotations

from dream.errors import RecipeError, near, shown
from dream.networks.model_card import Layer, ModelCard, Source

TORCHVISION = "https://download.pytorch.org/models/"


def _inceptions(*blocks: tuple[str, str, str]) -> tuple[Layer, ...]:
    return tuple(Layer(f"inception{name}", kind, brings) for name, kind, brings in blocks)


def _relus(*indices: tuple[int, str, str, str]) -> tuple[Layer, ...]:
    return tuple(
        Layer(f"features.{index}", kind, brings, alias) for index, alias, kind, brings in indices
    )


INCEPTIONS = (
    ("3a", "textures", "Ripples, fur"),
    ("3b", "patterns", "Rings, eyes"),
    ("4a", "patterns", "Eye fields"),
    ("4b", "parts", "Snouts"),
    ("4c", "parts", "Faces, fur"),
    ("4d", "creatures", "Animals"),
    ("4e", "creatures", "Towers"),
    ("5a", "creatures", "Scales"),
    ("5b", "creatures", "Faint animal"),
)
TIMM_VGG = (
    ("pre_logits.fc1.", "classifier.0."),
    ("pre_logits.fc2.", "classifier.3."),
    ("head.fc.", "classifier.6."),
)
VISION_MODELS = ("theunnecessarythings/vision_models", "1cb71ed300bf5b1913894c0f000a0146cfb4b431")

CARDS = {
    card.name: card
    for card in (
        ModelCard(
            name="dreamlet",
            about="GoogLeNet at 5/8 of its width; comes with the app, needs no download",
            builder="dream.networks.dreamlet:load",
            licence="MIT",
            low="inception3b",
            default_layer="inception4c",
            high="inception5a",
            layers=(Layer("conv3", "edges", "Strokes"), *_inceptions(*INCEPTIONS)),
            min_side=32,
            means="dreamlet_means.safetensors",
        ),
        ModelCard(
            name="vgg16",
            about="VGG with 16 layers (Simonyan and Zisserman 2014); thick paint, eyes, spires",
            builder="torchvision.models:vgg16",
            licence="BSD-3-Clause",
            low="features.15",
            default_layer="features.22",
            high="features.29",
            layers=_relus(
                (3, "relu1_2", "edges", "Edges"),
                (8, "relu2_2", "textures", "Weave"),
                (15, "relu3_3", "patterns", "Swirls"),
                (20, "relu4_2", "patterns", "Scales, arches"),
                (22, "relu4_3", "parts", "Eyes, arches"),
                (29, "relu5_3", "creatures", "Heads, birds"),
                (30, "pool5", "creatures", "Heads, sparse"),
            ),
            min_side=32,
            heavy=True,
            head="classifier",
            logits="classifier.6",
            head_side=224,
            source=Source(
                repo="timm/vgg16.tv_in1k",
                file="model.safetensors",
                revision="3394518cba29aee1ea82a49d971be90d2dd1dab7",
                sha256="57b026918159a6bf9faf8405c3a551903768e7138989d9c6224a14227203fad8",
                megabytes=553,
                url=TORCHVISION + "vgg16-397923af.pth",
                keys=TIMM_VGG,
            ),
        ),
        ModelCard(
            name="vgg19",
            about="VGG with 19 layers (Simonyan and Zisserman 2014); as vgg16, finer",
            builder="torchvision.models:vgg19",
            licence="BSD-3-Clause",
            low="features.17",
            default_layer="features.26",
            high="features.35",
            layers=_relus(
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
            min_side=32,
            heavy=True,
            head="classifier",
            logits="classifier.6",
            head_side=224,
            source=Source(
                repo="timm/vgg19.tv_in1k",
                file="model.safetensors",
                revision="128d4708565b3a414bcbb9bbad440b2fe37b9f18",
                sha256="11aea017b543ff59233749d8f1cf544cda749378f5790d2fedab841fb86b7669",
                megabytes=575,
                url=TORCHVISION + "vgg19-dcbb9e9d.pth",
                keys=TIMM_VGG,
            ),
        ),
        ModelCard(
            name="googlenet",
            about="Inception v1 (Szegedy et al. 2014), of the dreams of 2015",
            builder="torchvision.models:googlenet",
            options={"aux_logits": False, "init_weights": False, "transform_input": True},
            licence="BSD-3-Clause",
            low="inception3b",
            default_layer="inception4c",
            high="inception4e",
            layers=(Layer("conv3", "edges", "Strokes"), *_inceptions(*INCEPTIONS)),
            min_side=32,
            bands=4,
            source=Source(
                repo=VISION_MODELS[0],
                file="googlenet.safetensors",
                revision=VISION_MODELS[1],
                sha256="d65208bbda6eb067746e1d3ecaa7752932accabf5083fabf8f912eecbae6484c",
                megabytes=26.6,
                url=TORCHVISION + "googlenet-1378be20.pth",
            ),
        ),
        ModelCard(
            name="inception_v3",
            about="Inception v3 (Szegedy et al. 2015); fine ornaments, layers as in Keras too",
            builder="torchvision.models:inception_v3",
            options={"aux_logits": False, "init_weights": False, "transform_input": True},
            licence="BSD-3-Clause",
            low="Mixed_5d",
            default_layer="Mixed_6b",
            high="Mixed_7a",
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
            heavy=True,
            source=Source(
                repo="timm/inception_v3.tv_in1k",
                file="model.safetensors",
                revision="main",  # 9506574 in short
                sha256="9c452c63a67fd03a38a78c401ba12d4be0e926df63c93403de3a29f6df20fefb",
                megabytes=95.5,
                url=TORCHVISION + "inception_v3_google-0cc3c7bd.pth",
            ),
        ),
        ModelCard(
            name="resnet50",
            about="Residual network of 50 layers (He et al. 2015); scribbles to animals",
            builder="torchvision.models:resnet50",
            licence="BSD-3-Clause",
            low="layer2",
            default_layer="layer3",
            high="layer4",
            layers=(
                Layer("layer1", "textures", "Scribbles"),
                Layer("layer2", "patterns", "Feathers"),
                Layer("layer3", "parts", "Eyes, faces"),
                Layer("layer4", "creatures", "Animals"),
            ),
            min_side=32,
            heavy=True,
            source=Source(
                repo="timm/resnet50.tv_in1k",
                file="model.safetensors",
                revision="aa6c2d36d56bc0209040c02b5a7b7d7bf11d57b8",
                sha256="5d061a3c593d795bfe682d9b152bafbcf550579873492def3515b46db1189888",
                megabytes=102,
                url=TORCHVISION + "resnet50-0676ba61.pth",
            ),
        ),
        ModelCard(
            name="alexnet",
            about="AlexNet (Krizhevsky et al. 2012); coarse and bright, for class images",
            builder="torchvision.models:alexnet",
            licence="BSD-3-Clause",
            low="features.7",
            default_layer="features.11",
            high="features.12",
            layers=_relus(
                (1, "relu1", "edges", "Edges"),
                (4, "relu2", "textures", "Blobs"),
                (7, "relu3", "patterns", "Swirls"),
                (9, "relu4", "parts", "Eyes"),
                (11, "relu5", "parts", "Eyes, fur"),
                (12, "pool5", "creatures", "Sparse"),
            ),
            min_side=63,
            head="classifier",
            logits="classifier.6",
            head_side=224,
            source=Source(
                repo=VISION_MODELS[0],
                file="alexnet.safetensors",
                revision=VISION_MODELS[1],
                sha256="",
                megabytes=244,
                url=TORCHVISION + "alexnet-owt-7be5be79.pth",
            ),
        ),
        ModelCard(
            name="squeezenet1_1",
            about="SqueezeNet 1.1 (Iandola et al. 2016); 5 MB, quick and garish",
            builder="torchvision.models:squeezenet1_1",
            licence="BSD-3-Clause",
            low="features.7",
            default_layer="features.10",
            high="features.12",
            layers=(
                Layer("features.4", "edges", "Strokes", "fire3"),
                Layer("features.6", "textures", "Dots", "fire4"),
                Layer("features.7", "patterns", "Eye spots", "fire5"),
                Layer("features.10", "parts", "Faces", "fire7"),
                Layer("features.11", "parts", "Faces, thin", "fire8"),
                Layer("features.12", "creatures", "Faint animal", "fire9"),
            ),
            min_side=32,
            bands=4,
            logits="classifier.1",
            output="classifier.3",
            source=Source(
                repo=VISION_MODELS[0],
                file="squeezenet1_1.safetensors",
                revision=VISION_MODELS[1],
                sha256="",
                megabytes=5,
                url=TORCHVISION + "squeezenet1_1-b8a52dc0.pth",
            ),
        ),
        ModelCard(
            name="mobilenet_v2",
            about="MobileNet v2 (Sandler et al. 2018); 14 MB, delicate",
            builder="torchvision.models:mobilenet_v2",
            licence="BSD-3-Clause",
            low="features.6",
            default_layer="features.13",
            high="features.16",
            layers=(
                Layer("features.3", "edges", "Lattice"),
                Layer("features.6", "textures", "Ornaments"),
                Layer("features.10", "patterns", "Bands, fur"),
                Layer("features.13", "parts", "Spots, snouts"),
                Layer("features.16", "creatures", "Fine fur"),
                Layer("features.17", "creatures", "Veins, faint"),
            ),
            min_side=32,
            logits="classifier.1",
            source=Source(
                repo=VISION_MODELS[0],
                file="mobilenet_v2.safetensors",
                revision=VISION_MODELS[1],
                sha256="",
                megabytes=14,
                url=TORCHVISION + "mobilenet_v2-b0353104.pth",
            ),
        ),
        ModelCard(
            name="densenet121",
            about="Densely connected network of 121 layers (Huang et al. 2016)",
            builder="torchvision.models:densenet121",
            licence="BSD-3-Clause",
            low="features.denseblock2",
            default_layer="features.denseblock3",
            high="features.denseblock4",
            layers=(
                Layer("features.denseblock1", "textures", "Strokes", "block1"),
                Layer("features.denseblock2", "patterns", "Feathers", "block2"),
                Layer("features.denseblock3", "parts", "Eyes, faces", "block3"),
                Layer("features.denseblock4", "creatures", "Animals", "block4"),
            ),
            min_side=32,
            heavy=True,
            logits="classifier",
            source=Source(
                repo="timm/densenet121.tv_in1k",
                file="model.safetensors",
                revision="main",  # d42603a in short
                sha256="c894c6d9caa317a8ca1942986dee7a16a86c77734a4d691d2abe05389cfef358",
                megabytes=32.3,
                url=TORCHVISION + "densenet121-a639ec97.pth",
            ),
        ),
    )
}


# What a GPU begins with, the first of these that is there (see `Engine.default_model`).
CLASSICS = ("googlenet", "vgg16", "vgg19", "inception_v3", "resnet50")


def card(name: str) -> ModelCard:
    """The card of that network.

    Raises:
        RecipeError: if there is none; the message lists what is near.
    """
    if not isinstance(name, str) or name not in CARDS:
        like = ", ".join(near(name, CARDS) or CARDS)
        raise RecipeError(f"model {shown(name, 60)} is not known; try {like}")
    return CARDS[name]

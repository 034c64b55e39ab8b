"""timm's models without their classifiers. timm is imported only when it is used."""

from typing import Any

from torch import Tensor, nn

from lightning_reid.errors import DownloadError, InputError, MissingPackageError
from lightning_reid.models.dry_run import dry_run, find_image_size
from lightning_reid.models.positions import adapt_on_load
from lightning_reid.models.torchvision_trunks import suggestion

TIMM_PREFIX = "timm/"

# Ways to ask for images of any size; which of them a model understands depends on its family.
_ANY_SIZE: tuple[dict[str, Any], ...] = ({"dynamic_img_size": True}, {"strict_img_size": False})


def build_timm_trunk(name: str) -> nn.Module:
    """Build a timm model, randomly initialised, without its classifier.

    Models whose features are maps with channels first return them unpooled; all others (vision
    transformers, windowed ones) pool the way they were trained.

    Args:
        name: timm's name, with or without "timm/".

    Returns:
        Maps images (B, 3, H, W) to a feature map (B, C, h, w) or to pooled features (B, C).

    Raises:
        MissingPackageError: timm is not installed.
        InputError: Unknown name; the message suggests close ones.
    """
    model = _create(name, num_classes=0)
    if _returns_maps(model):
        model.reset_classifier(0, "")
    positions = getattr(model, "pos_embed", None)
    if getattr(model, "dynamic_img_size", False) and getattr(positions, "ndim", 0) == 3:
        adapt_on_load(model, "pos_embed", "patch_embed.grid_size")
    return model  # type: ignore[no-any-return]


def timm_state_dict(name: str, weights: str) -> dict[str, Tensor]:
    """Get timm's pretrained weights of a model.

    Args:
        name: timm's name, with or without "timm/".
        weights: "DEFAULT", or one of timm's tags such as "a1_in1k".

    Raises:
        MissingPackageError: timm is not installed.
        InputError: The model has no such weights.
        DownloadError: The weights could not be downloaded.
    """
    timm = _import_timm()
    name = name.removeprefix(TIMM_PREFIX)
    tagged = name if weights == "DEFAULT" else f"{name.split('.')[0]}.{weights}"
    if not timm.is_model_pretrained(tagged):
        known = [each.partition(".")[2] for each in timm.list_pretrained(f"{name.split('.')[0]}.*")]
        raise InputError(
            f"timm has no weights '{weights}' for '{name}'; "
            + (f"there are {', '.join(known)}" if known else "there are none for this model")
        )
    try:
        return dict(_create(tagged, pretrained=True).state_dict())
    except Exception as error:  # timm downloads with several libraries, each with its own errors
        raise DownloadError(
            f"could not get timm's weights '{tagged}' ({type(error).__name__}: {error}). Without a "
            "connection, pass a local file as weights, or null for random initialisation"
        ) from error


def _create(name: str, **arguments: Any) -> Any:
    timm = _import_timm()
    name = name.removeprefix(TIMM_PREFIX)
    if not timm.is_model(name):
        raise InputError(
            f"timm has no model '{name}'{suggestion(name.split('.')[0], timm.list_models())}"
        )
    for any_size in _ANY_SIZE:
        try:
            return timm.create_model(name, **arguments, **any_size)
        except TypeError:  # noqa: PERF203 - not an argument of this family
            continue
    return timm.create_model(name, **arguments)


class _BeforeHead(nn.Module):
    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> Tensor:
        return self.model.forward_features(images)  # type: ignore[no-any-return]


def _returns_maps(model: Any) -> bool:
    """Whether the features before the head are maps (B, C, h, w)."""
    image_size, _ = find_image_size(model)
    features = dry_run(_BeforeHead(model), image_size)
    return features.ndim == 4 and features.shape[1] == model.num_features


def _import_timm() -> Any:
    try:
        import timm
    except ImportError as error:
        raise MissingPackageError(
            'timm models need timm: pip install "lightning-reid[timm]"'
        ) from error
    return timm

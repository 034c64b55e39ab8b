"""A checkpoint serves where the data has other people, cameras and clusters than it was made on."""

import numpy as np
import pytest
import torch
from command_line import EASY_CLUSTERS, run
from every_method import FIRST, METHODS, options_of

from lightning_reid.data.synthetic import draw_synthetic_persons
from lightning_reid.metrics import retrieval_metrics


def options(cls, num_clusters, eps):
    """A method that finds clusters in few images."""
    own = {
        "ReliableSoftLabels": [f"--model.num_clusters={num_clusters}", "--model.threshold=0.5"],
        "PCSL": ["--model.soft_epoch=0"],
    }
    easy = [*EASY_CLUSTERS, f"--model.clusterer.eps={eps}"]
    others = easy if "clusterer" in options_of(cls) else []
    return [f"--model={cls.__name__}", *own.get(cls.__name__, others)]


@pytest.fixture(scope="module")
def trained(persons, tmp_path_factory):
    """One epoch of every method: the module and its checkpoint."""
    made = {}

    def get(cls):
        if cls not in made:
            folder = tmp_path_factory.mktemp("trained") / cls.__name__
            short = ["--trainer.max_epochs=1", "--evaluate=false"]
            fitted = run("fit", persons, folder, *options(cls, 6, 0.7), *short)
            made[cls] = fitted.model, folder / "checkpoints" / "last.ckpt"
        return made[cls]

    return get


@pytest.fixture(scope="module")
def others(tmp_path_factory):
    """Fewer cameras with more people."""
    root = tmp_path_factory.mktemp("data") / "others"
    people = {"num_train_identities": 8, "num_test_identities": 5, "num_cameras": 2}
    return draw_synthetic_persons(root, **people, images_per_camera=5, progress=False, seed=1)


@pytest.mark.parametrize("cls", FIRST)
def test_its_weights_start_the_next_run(cls, trained, others, tmp_path):
    before = METHODS[METHODS.index(cls) - 1]
    for source in (cls, before):
        model, checkpoint = trained(source)
        tuned = run(
            "fit",
            others,
            tmp_path / source.__name__,
            *options(cls, 7, 0.5),
            f"--model.weights={checkpoint}",
            "--model.learning_rate=0",  # it keeps what it starts from
            "--trainer.max_epochs=1",
            "--evaluate=false",
        )
        expected = dict(model.network.backbone.named_parameters())
        for name, weight in tuned.model.network.backbone.named_parameters():
            assert torch.equal(weight, expected[name])
        assert tuned.model.current_labels().num_clusters > 1


@pytest.mark.parametrize("cls", FIRST)
def test_it_tests_and_embeds(cls, trained, others, tmp_path):
    model, checkpoint = trained(cls)
    given = (*options(cls, 7, 0.5), f"--ckpt_path={checkpoint}")
    predicted = run("predict", others, tmp_path, *given)
    file = checkpoint.parent.parent / "predict" / "embeddings.npz"
    embeddings = torch.from_numpy(np.load(file)["embeddings"])
    data = predicted.datamodule
    with torch.no_grad():
        batches = [model.eval().embed(batch["image"]) for batch in data.predict_dataloader()]
    torch.testing.assert_close(embeddings, torch.cat(batches), rtol=0, atol=1e-5)
    tested = run("test", others, tmp_path, *given).trainer.callback_metrics
    split = len(data.query_samples)
    parts = (data.query_samples, data.gallery_samples)
    expected = retrieval_metrics(
        embeddings[:split],
        embeddings[split:],
        *(part.identities for part in parts),
        *(part.camera_numbers(data.camera_names) for part in parts),
    )
    assert float(tested["test/mAP"]) == pytest.approx(expected["mAP"], abs=1e-6)

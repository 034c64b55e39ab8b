"""A trained model."""

import pytest
from briefly_trained import train


@pytest.fixture(scope="session")
def exported_checkpoint(persons, tmp_path_factory):
    """Of a trained model; read only."""
    return train(persons, tmp_path_factory.mktemp("exported") / "run")

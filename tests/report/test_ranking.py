import numpy as np
import torch
from PIL import Image

from lightning_reid.metrics import Collected
from lightning_reid.report import draw_rankings


def test_frames_tell_matches_from_mistakes_and_junk_is_left_out(tmp_path):
    for i in range(4):
        Image.new("RGB", (30, 60), (10 * i, 0, 255)).save(tmp_path / f"{i}.png")
    seen = Collected(
        embeddings=torch.tensor([[1.0, 0], [0.9, 0.1], [0.8, 0.2], [1.0, 0.0]]),
        identities=torch.tensor([7, 7, 8, 7]),
        cameras=torch.tensor([0, 1, 1, 0]),  # the last is the query's identity and camera
        is_query=torch.tensor([True, False, False, False]),
        index=torch.arange(4),
    )
    paths = [str(tmp_path / f"{i}.png") for i in range(4)]
    picture = np.asarray(draw_rankings(seen, paths, ["c1", "c2"], num_results=3))
    width = picture.shape[1] // 4
    frames = [tuple(picture[40, x * width + 2].tolist()) for x in range(4)]
    query, match, mismatch, nothing = frames
    assert match[1] > match[0]
    assert mismatch[0] > mismatch[1]
    assert nothing == (255, 255, 255)
    assert len({query, match, mismatch}) == 3

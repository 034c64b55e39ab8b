"""Run folders as runs leave them, with texts that would break a careless page."""

import numpy as np
from PIL import Image

from lightning_reid.report.contents import CONTENTS
from lightning_reid.report.record import RunRecord
from lightning_reid.report.tables import write_epoch, write_labels, write_retrieval, write_table

HOSTILE = "<img src=x onerror=\"document.title='broken'\">"
SCRIPT = "</pre></details><script>document.title = 'broken'</script>"
PICTURES = [item for section in CONTENTS for item in section.pictures]
TABLES = [item for section in CONTENTS for item in section.tables]
TEST = {"mAP": 0.903, "mAP_low": 0.881, "mAP_high": 0.92, "rank1": 0.978, "num_valid_queries": 96.0}
HISTORY = [
    {
        "epoch": float(epoch),
        "labels/seconds/extraction": 12.34567,
        "labels/clusters": 141.0 - epoch,
        "labels/proxies": 300.0,
        "labels/outlier_share": 0.25,
        "labels/size_median": 12.0,
        "labels/cross_camera_share": 0.01,
        "labels/stability": float("nan") if epoch == 0 else 0.5,
        "labels/silhouette": 1 / (epoch + 3),
        "labels/reliable_share": 0.512345,
        "labels/removed_share": 0.1,
        "diagnostics/nmi": 0.9,
        "diagnostics/ari": 0.812345,
    }
    for epoch in range(16)
]


def record(**changes):
    told = {"command": "fit", "method": "O2CAP", "data": "Market1501", "epochs": 16}
    return RunRecord(**{**told, "device": "1 x cpu", **changes}).begin(None)


def full_run(folder):
    """Everything that a run can have."""
    (folder / "pictures").mkdir(parents=True)
    for number, item in enumerate(PICTURES):
        shape = (300 + 10 * number, 500 + 100 * number, 3)
        grey = np.full(shape, 40 + 20 * number, np.uint8)
        Image.fromarray(grey).save(folder / "pictures" / f"{item.name}.png")
    write_retrieval(folder, {"test/mAP": 0.0831, "test/rank1": 0.25}, "untrained")
    write_retrieval(folder, {f"test/{name}": value for name, value in TEST.items()}, "trained")
    cameras = [HOSTILE, *(f"camera {i} with a name as long as they come" for i in range(8))]
    rows = [[name, *(0.123456 for _ in cameras)] for name in cameras]
    write_table(folder, "camera_pairs", ["query_camera", *cameras], rows)
    write_labels(folder, HISTORY)
    for epoch in range(3):
        write_epoch(folder, epoch, 2.5 - epoch, 17.25)
    (folder / "config.yaml").write_text(f"run_dir: here\ndata:\n  root: {SCRIPT}\n" + "x" * 900)
    record(data=HOSTILE).write(folder)
    return folder

from lightning_reid.report import print_summary


def test_both_columns_and_the_labels(capsys, tmp_path):
    history = [
        {"labels/clusters": 20.0, "labels/stability": float("nan")},
        {"labels/clusters": 1.0, "labels/stability": 0.875},
    ]
    before, after = {"test/mAP": 0.0415}, {"test/mAP": 0.5, "test/num_valid_queries": 96.0}
    print_summary(before, after, history, tmp_path)
    printed = capsys.readouterr().out
    cells = printed.replace("│", " ").split()
    for cell in ("4.2", "50.0", "96", "20", "1", "0.875"):
        assert cell in cells


def test_nothing_to_test_on_leaves_the_labels(capsys, tmp_path):
    print_summary({}, {}, [{"labels/clusters": 20.0}], tmp_path)
    printed = capsys.readouterr().out
    assert "Retrieval" not in printed
    assert "clusters" in printed

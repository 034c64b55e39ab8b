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


def test_bad_signs_are_told_below_the_labels(capsys, tmp_path):
    last = {"labels/clusters": 20.0, "labels/outlier_share": 0.9}
    print_summary({}, {}, [last], tmp_path)
    printed = capsys.readouterr().out
    assert printed.index("Pseudo labels") < printed.index("Bad sign: 90 % of the images are out")
    print_summary({}, {}, [{**last, "labels/outlier_share": 0.1}], tmp_path)
    assert "Bad sign" not in capsys.readouterr().out


def test_nothing_to_test_on_leaves_the_labels(capsys, tmp_path):
    print_summary({}, {}, [{"labels/clusters": 20.0}], tmp_path)
    printed = capsys.readouterr().out
    assert "Retrieval" not in printed
    assert "clusters" in printed


def test_intervals_stand_beside_their_numbers(capsys, tmp_path):
    after = {"test/mAP": 0.5, "test/mAP_low": 0.412, "test/mAP_high": 0.587}
    print_summary({"test/mAP": 0.1}, after, [], tmp_path)
    printed = capsys.readouterr().out
    assert "50.0 % (41.2 to 58.7)" in printed
    assert "10.0 %" in printed
    assert "mAP_low" not in printed


def test_the_folder_is_whole_and_no_markup(capsys, tmp_path):
    folder = tmp_path / "[bold]a run" / " ".join(["with a long name"] * 8)
    folder.mkdir(parents=True)
    print_summary({}, {}, [], folder)
    assert f"Everything of this run is in {folder}\n" in capsys.readouterr().out
    (folder / "report.html").touch()
    print_summary({}, {}, [], folder)
    assert f"to look at: {folder}/report.html\n" in capsys.readouterr().out

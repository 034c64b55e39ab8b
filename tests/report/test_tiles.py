import numpy as np
import pytest
from PIL import Image

from lightning_reid.report.lettering import font_of, shortened, writable
from lightning_reid.report.tiles import Row, Tile, draw_rows, size_of_rows


def coloured(image, colour):
    return int((np.asarray(image) == colour).all(2).sum())


@pytest.mark.parametrize("size", [(1, 1), (30, 60), (3000, 20), (5, 4000)])
def test_images_of_any_size_fit(size):
    # beside two of the usual shape, of which the odd one does not change the width
    usual = Image.new("RGB", (64, 128), (0, 0, 255))
    row = Row("a heading", [Tile(usual), Tile(Image.new("RGB", size, (255, 0, 255))), Tile(usual)])
    drawn = draw_rows([row])
    assert drawn.size == draw_rows([Row("", [Tile(usual)] * 3)]).size
    assert coloured(drawn, (0, 0, 255)) == 2 * 72 * 144
    assert coloured(drawn, (255, 0, 255)) > 0


def test_an_unreadable_file_leaves_an_empty_tile(tmp_path):
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"\xff\xd8 no image")
    fine = Tile(Image.new("RGB", (64, 128), (0, 0, 255)))
    drawn = draw_rows([Row("", [Tile(str(broken)), Tile(str(tmp_path / "missing.png")), fine])])
    assert coloured(drawn, (225, 225, 225)) > 2 * 60 * 130
    assert coloured(drawn, (0, 0, 255)) == 72 * 144


def test_wide_images_make_wide_tiles():
    wide, narrow = (
        draw_rows([Row("", [Tile(Image.new("RGB", size))] * 2)]).width
        for size in ((128, 128), (64, 128))
    )
    assert wide - narrow == 2 * 72


def test_captions_of_several_lines_stand_above_their_images():
    blue = Image.new("RGB", (64, 128), (0, 0, 255))
    one, two = (draw_rows([Row("", [Tile(blue, text), Tile(blue)])]) for text in ("1", "1\n2"))
    line = two.height - one.height
    assert line > 0
    assert coloured(two, (0, 0, 255)) == 2 * 72 * 144
    np.testing.assert_array_equal(np.asarray(two)[40 + line :], np.asarray(one)[40:])


def test_the_size_is_known_before_an_image_is_read(tmp_path):
    rows = [Row("", [Tile(str(tmp_path / "missing.png"), "1\n2"), None]), Row("", [None] * 3)]
    assert draw_rows(rows, 96).size == size_of_rows(rows, 96)
    wide = Tile(Image.new("RGB", (300, 100), (0, 0, 255)))
    assert coloured(draw_rows([Row("", [wide])], 96), (0, 0, 255)) == 96 * 32


def test_names_in_scripts_of_the_font_are_written_as_they_are():
    names = ["Вход", "είσοδος", "مدخل", "$x^2$", "c1"]
    assert writable(names) == names


def test_other_names_keep_their_number_and_what_can_be_written():
    names = ["入口", "gate 入口", "two\nlines", "", "入 5"]
    assert writable(names) == ["#1", "#2 gate", "two lines", "#4", "#5 5"]


def test_long_names_are_cut_to_their_place():
    font = font_of(11)
    cut = shortened("a camera with a very long name", font, 60)
    assert cut.endswith("…")
    assert font.getlength(cut) <= 60
    assert shortened("c1", font, 60) == "c1"

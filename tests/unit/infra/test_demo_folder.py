"""The demo's folder and input files: emptied where it is the demo's own, left alone otherwise."""

from __future__ import annotations

from pathlib import Path

import pytest

from bianhe.infra.demo.files import FolderInUse, fresh_folder, read_rows, write_rows
from bianhe.producers.synthetic.history import events


def test_a_folder_of_an_earlier_demo_is_emptied(tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    with fresh_folder(folder) as place:
        (place / "old").mkdir()
        (place / "old" / "file").write_text("x")
    with fresh_folder(folder) as place:
        assert [entry.name for entry in place.iterdir()] == [".bianhe-demo"]


def test_a_folder_that_is_not_the_demos_is_left_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "letter").write_text("mine")
    with pytest.raises(FolderInUse), fresh_folder(tmp_path):
        pass
    assert (tmp_path / "letter").read_text() == "mine"
    assert [entry.name for entry in tmp_path.iterdir()] == ["letter"]


def test_what_a_link_in_the_folder_points_to_is_left_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "precious").mkdir()
    with fresh_folder(tmp_path / "demo") as place:
        (place / "link").symlink_to(tmp_path / "precious")
    with fresh_folder(tmp_path / "demo"):
        assert (tmp_path / "precious").exists()


def test_a_second_demo_in_the_same_folder_is_told_so_and_touches_nothing(tmp_path: Path) -> None:
    with fresh_folder(tmp_path / "demo") as place:
        (place / "file").write_text("of the first")
        with pytest.raises(FolderInUse, match="another demo runs"), fresh_folder(tmp_path / "demo"):
            pass
        assert (place / "file").read_text() == "of the first"


def test_later_rows_go_on_where_the_file_ends(tmp_path: Path) -> None:
    file, later = tmp_path / "now.csv", tmp_path / "later.csv"
    write_rows(file, "licence", 20, 1, later, 5)
    rows = [*read_rows(file), *read_rows(later)]
    assert rows == list(events("licence", 25, 1))
    assert len(list(read_rows(later))) == 5

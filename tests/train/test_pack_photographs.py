"""The command that packs a folder of photographs."""

from deconvnet.blur.packed_photographs import load_packed_photographs
from train.pack_photographs import main


def test_a_folder_is_packed_and_files_that_are_no_photographs_are_counted(images, tmp_path, capsys):
    out = tmp_path / "packed.npz"
    assert main([str(images), str(out), "--quiet"]) == 0
    assert len(load_packed_photographs(out)) == 12
    said = capsys.readouterr().out
    assert said.startswith("12 of 12 photographs in ") and said.endswith("1 files skipped\n")


def test_what_the_user_can_mend_is_said_in_one_line(images, tmp_path, capsys):
    assert main([str(tmp_path / "none"), str(tmp_path / "p.npz"), "--quiet"]) == 2
    assert main([str(images), str(tmp_path / "p.txt"), "--quiet"]) == 2
    assert capsys.readouterr().err.count("\n") == 2

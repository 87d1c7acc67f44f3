# SPDX-License-Identifier: LGPL-3.0-only
"""Each file says under which licence it is."""

from dev.commands.lint import data_without_licence, without_licence


def test_python_says_it_in_its_first_line(tmp_path):
    file = tmp_path / "module.py"
    file.write_text("import os\n")
    assert without_licence(file)
    file.write_text("# SPDX-License-Identifier: LGPL-3.0-only\n")
    assert not without_licence(file)


def test_data_says_it_in_a_file_beside(tmp_path):
    file, beside = tmp_path / "data.json", tmp_path / "data.json.license"
    file.write_text("{}")
    assert data_without_licence(file)
    beside.write_text("Somebody's\n")
    assert data_without_licence(file)
    beside.write_text("SPDX-License-Identifier: MPL-2.0\n")
    assert not data_without_licence(file)

# SPDX-License-Identifier: LGPL-3.0-only
"""Each file of data says under which licence it is; of Python, ruff checks it."""

from dev.commands.lint import data_without_licence


def test_data_says_it_in_a_file_beside(tmp_path):
    file, beside = tmp_path / "data.json", tmp_path / "data.json.license"
    file.write_text("{}")
    assert data_without_licence(file)
    beside.write_text("Somebody's\n")
    assert data_without_licence(file)
    beside.write_text("SPDX-License-Identifier: MPL-2.0\n")
    assert not data_without_licence(file)

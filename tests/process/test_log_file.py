import logging

from process.console import LogFile

LINE = logging.LogRecord("x", logging.INFO, "x.py", 1, "said", (), None)


def test_takes_lines_where_it_can_and_else_is_silent(tmp_path):
    for name in ("here.log", "no folder/there.log"):  # root writes into any folder that is there
        handler = LogFile(str(tmp_path / name))
        handler.handle(LINE)
        handler.close()
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("here.log", "said\n")]

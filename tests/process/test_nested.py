from process.nested import leaves

NODE = {"a": {"b": 1, "c": {}}, "d": ["x", {"e": "y"}], "f": None}


def test_names_are_dotted_and_lists_are_values():
    assert list(leaves(NODE)) == [("a.b", 1), ("a.c", {}), ("d", ["x", {"e": "y"}]), ("f", None)]


def test_into_lists():
    assert list(leaves(NODE, into_lists=True)) == [("a.b", 1), ("a.c", {}), ("d", "x"), ("d.e", "y"), ("f", None)]
